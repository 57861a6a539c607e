// tern version, tern help: what this program is.
#include <fmt/format.h>

#include "base/cpu.h"
#include "base/suggest.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/help.h"

namespace tern::cli {
namespace {

class Version : public Command {
 public:
  void declare(Options&) override {}

  Result<int> run(Context& context) override {
    std::string isas;
    for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx}) {
      if (supported(isa)) isas += (isas.empty() ? "" : ", ") + std::string(name(isa));
    }
    context.out.write(fmt::format("tern {}\ncompiler: {}\ninstruction sets: {}\nCPUs: {}\n",
                                  TERN_VERSION, compiler(), isas, ThreadPool::default_threads()));
    return 0;
  }

 private:
  static std::string_view compiler() {
#if defined(__clang__)
    return __VERSION__;  // begins with the name
#else
    return "g++ " __VERSION__;
#endif
  }
};

class Help : public Command {
 public:
  void declare(Options& options) override {
    options.text("COMMAND", "COMMAND", command_, "the command to explain");
  }

  Result<int> run(Context& context) override {
    if (!command_) {
      context.out.write(program_help(context.terminal.width));
      return 0;
    }
    const auto* entry = find_command(*command_);
    if (entry == nullptr) {
      std::vector<std::string> names;
      for (const auto& known : commands()) names.emplace_back(known.name);
      const auto near = nearest(*command_, names);
      return fail(ErrorCode::usage, "no such command", *command_,
                  near ? "did you mean " + *near + "?" : "tern help lists the commands");
    }
    auto command = entry->make();
    Options options("tern " + std::string(entry->name), std::string(entry->summary));
    command->declare(options);
    options.close();
    context.out.write(command_help(options, context.terminal.width));
    return 0;
  }

 private:
  std::optional<std::string> command_;
};

}  // namespace

std::unique_ptr<Command> make_version() {
  return std::make_unique<Version>();
}

std::unique_ptr<Command> make_help() {
  return std::make_unique<Help>();
}

}  // namespace tern::cli
