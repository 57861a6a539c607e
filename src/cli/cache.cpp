// tern list, tern rm: the models that are downloaded.
#include "hub/cache.h"

#include <fmt/format.h>

#include <iostream>

#include "base/json.h"
#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/stats.h"
#include "cli/table.h"
#include "engine/model_source.h"
#include "hub/environment.h"
#include "hub/family.h"
#include "hub/remove.h"
#include "model/config.h"

namespace tern::cli {
namespace {

constexpr const char* kListExamples =
    "Shows every model of the cache that tern can load, whoever downloaded it.\n\n"
    "Examples:\n"
    "  tern list\n"
    "  tern list --json | jq -r '.[].path'\n";

constexpr const char* kRmExamples =
    "Frees what no other revision of the same repository uses. Asks first on a terminal; without "
    "one\n"
    "it needs -y. A name with -TQ-KV or -RQ-KV stands for the weights of its parent.\n\n"
    "Examples:\n"
    "  tern rm TurboQuant-MLX-4bit\n"
    "  tern rm somebody/model --revision v1 -y\n";

struct Entry {
  hub::CachedModel model;
  std::vector<std::string> revisions;
};

/// Whether the headers are those of a model that this engine knows.
bool can_load(const std::filesystem::path& path) {
  const auto checkpoint = formats::Checkpoint::open(path);
  return checkpoint && model::Config::from(*checkpoint);
}

/// All models of one snapshot: several when it holds several GGUF files.
std::vector<hub::CachedModel> models_of(const hub::RepoCache& cache, const std::string& commit) {
  std::vector<hub::CachedModel> models;
  hub::ModelName name{cache.repository(), cache.repository(), ""};
  if (auto one = hub::model_of(cache, commit, name)) models.push_back(*std::move(one));
  for (const std::string& file : cache.files(commit)) {
    if (!file.ends_with(".gguf")) continue;
    name.quantization = file.substr(0, file.size() - 5);
    name.quantization_typed = true;
    auto one = hub::model_of(cache, commit, name);
    const auto same = [&](const hub::CachedModel& known) { return known.path == one->path; };
    if (one && std::ranges::none_of(models, same)) models.push_back(*std::move(one));
  }
  return models;
}

class List : public Command {
 public:
  void declare(Options& options) override {
    options.group("Output");
    options.flag("--json", json_, "print one JSON array");
    options.footer(kListExamples);
  }

  Result<int> run(Context& context) override {
    TERN_TRY(const auto environment, hub::read_environment());
    std::vector<Entry> found;
    for (const std::string& repository : hub::cached_repositories(environment.cache)) {
      const hub::RepoCache cache(environment.cache, repository);
      for (const std::string& commit : cache.commits())
        for (auto& model : models_of(cache, commit))
          if (can_load(model.path)) found.push_back({std::move(model), cache.revisions_of(commit)});
    }
    if (json_)
      context.out.write(json::serialize(to_json(found)) + "\n");
    else
      context.out.write(to_text(found, environment.cache.string()));
    return 0;
  }

 private:
  static std::string to_text(const std::vector<Entry>& found, const std::string& root) {
    if (found.empty()) return "No models in " + root + "\n";
    using enum Table::Align;
    Table table({{"name", left}, {"file", left}, {"size", right}, {"revision", left}});
    for (const auto& [model, revisions] : found)
      table.add({model.repository, model.files.gguf, human_bytes(model.bytes),
                 fmt::format("{} {}", model.commit.substr(0, 12), fmt::join(revisions, " "))});
    return table.markdown() + "\nIn " + root + "\n";
  }

  static json::array to_json(const std::vector<Entry>& found) {
    json::array models;
    for (const auto& [model, revisions] : found)
      models.push_back({{"name", model.repository},
                        {"file", model.files.gguf},
                        {"bytes", model.bytes},
                        {"commit", model.commit},
                        {"revisions", json::array(revisions.begin(), revisions.end())},
                        {"path", model.path.string()}});
    return models;
  }

  bool json_ = false;
};

class Rm : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    options.text("NAME", "NAME", name_, "the name of a downloaded model", ValueKind::model);
    options.text("--revision", "REV", revision_, "only this branch, tag or commit");
    options.flag("-y,--yes", yes_, "do not ask");
    options.footer(kRmExamples);
  }

  Result<int> run(Context& context) override {
    if (!name_) return fail(ErrorCode::usage, "no model named", "NAME", "\"tern list\" shows them");
    TERN_TRY(const auto name, hub::parse_model_name(*name_));
    if (!name) return fail(ErrorCode::usage, "no name of a model", *name_);
    TERN_TRY(const auto environment, hub::read_environment());
    const hub::RepoCache cache(environment.cache, name->weights);
    TERN_TRY(const auto removal, hub::plan_removal(cache, revision_.value_or("")));
    const auto question =
        fmt::format("remove {} ({} revision{}, {})", cache.repository(), removal.commits.size(),
                    removal.commits.size() == 1 ? "" : "s", human_bytes(removal.bytes));
    if (!yes_ && !(context.terminal.in && context.terminal.err))
      return fail(ErrorCode::usage, question + "?", "--yes", "-y says yes");
    if (!yes_ && !confirmed(question, context)) return 0;
    TERN_TRY_VOID(hub::remove(cache, removal));
    context.out.write(
        fmt::format("removed {}, {} freed\n", cache.repository(), human_bytes(removal.bytes)));
    return 0;
  }

 private:
  static bool confirmed(const std::string& question, Context& context) {
    context.err.write("tern: " + question + "? [y/N] ");
    context.err.flush();
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
  }

  std::optional<std::string> name_, revision_;
  bool yes_ = false;
};

}  // namespace

std::unique_ptr<Command> make_list() {
  return std::make_unique<List>();
}

std::unique_ptr<Command> make_rm() {
  return std::make_unique<Rm>();
}

}  // namespace tern::cli
