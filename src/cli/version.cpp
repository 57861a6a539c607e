// tern version, tern help: what this program is.
#include <fmt/format.h>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/help.h"
#include "model/forward.h"

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
    context.out.write(fmt::format(
        "tern {}\ncompiler: {}\ninstruction sets: {}\nused: {}\nCPUs: {}\n", TERN_VERSION,
        compiler(), isas, name(model::products_isa()), ThreadPool::default_threads()));
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
    options.text("MEMBER", "MEMBER", member_, "of a group of commands, the one to explain");
  }

  Result<int> run(Context& context) override {
    if (!command_) {
      context.out.write(program_help(context.terminal.width));
      return 0;
    }
    if (!member_ && is_group(*command_)) {
      context.out.write(group_help(*command_, context.terminal.width));
      return 0;
    }
    const std::string name = member_ ? *command_ + " " + *member_ : *command_;
    const auto* entry = find_command(name);
    if (entry == nullptr) return no_such_command(name);
    auto command = entry->make();
    Options options("tern " + std::string(entry->name), std::string(entry->summary));
    command->declare(options);
    options.close();
    context.out.write(command_help(options, context.terminal.width));
    return 0;
  }

 private:
  std::optional<std::string> command_, member_;
};

}  // namespace

std::unique_ptr<Command> make_version() {
  return std::make_unique<Version>();
}

std::unique_ptr<Command> make_help() {
  return std::make_unique<Help>();
}

}  // namespace tern::cli
