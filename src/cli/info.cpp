// tern info: say what a model file holds and how much memory it needs; run nothing.
#include <fmt/format.h>

#include <array>
#include <map>

#include "base/json.h"
#include "cli/command.h"
#include "cli/model_files.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "cli/table.h"
#include "engine/chat.h"
#include "engine/engine.h"
#include "engine/vocabulary.h"
#include "model/forward.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Only headers are read, so it is quick for files of any size.\n\n"
    "Examples:\n"
    "  tern info demo\n"
    "  tern info -m model.gguf --tensors\n"
    "  tern info -m model/ --json | jq .memory\n";

constexpr std::array<std::uint64_t, 4> kContexts = {4096, 32768, 131072, 262144};

/// Tensors of one storage type, added up.
struct TypeTotal {
  std::size_t tensors = 0;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

struct Facts {
  formats::Checkpoint checkpoint;
  model::Config config;
  engine::KvChoice kv;
  std::vector<model::TensorEntry> tensors = {};
  std::map<std::string, TypeTotal> types = {};
  std::uint64_t parameters = 0;
  std::vector<std::pair<std::uint64_t, model::MemoryNeeds>> memory = {};
  std::size_t tokenizer = 0;  ///< tokens; 0: there is none
  bool has_template = false;
  bool thinks = false;    ///< when nothing is said about it
  bool switches = false;  ///< the template listens to enable_thinking
  std::vector<Error> problems = {};
};

class Info : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_kv(options, model_);
    options.group("Output");
    options.flag("--tensors", list_tensors_, "list every tensor: name, type, shape, bytes");
    options.flag("--json", json_, "print one JSON object");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    TERN_TRY(const auto name, model_name(model_));
    TERN_TRY(auto checkpoint, engine::open_checkpoint(name, find_options(model_, context)));
    context.progress.clear();
    TERN_TRY(auto config, model::Config::from(checkpoint));
    TERN_TRY(auto kv, kv_choice(model_, name));
    Facts facts{
        .checkpoint = std::move(checkpoint), .config = std::move(config), .kv = std::move(kv)};
    look_at_weights(facts);
    look_at_text(facts);
    context.out.write(json_ ? json::serialize(to_json(facts)) + "\n" : to_text(facts));
    if (facts.problems.empty()) return 0;
    return std::unexpected(facts.problems.front());
  }

 private:
  /// What a file that does not fit the model still tells is told; the misfit comes last.
  void look_at_weights(Facts& facts) const {
    if (const auto loaded = model::Model::load(facts.checkpoint)) {
      facts.tensors = loaded->tensors();
      facts.parameters = loaded->parameters();
      for (const auto tokens : kContexts) {
        if (const auto needs = loaded->memory(tokens, facts.kv.config))
          facts.memory.emplace_back(tokens, *needs);
      }
    } else {
      facts.problems.push_back(loaded.error());
      for (const auto& tensor : facts.checkpoint.tensors().tensors())
        facts.tensors.push_back({.name = tensor.name,
                                 .role = "",
                                 .type = std::string(tern::name(tensor.type)),
                                 .shape = to_string(tensor.shape),
                                 .parameters = tensor.elements(),
                                 .bytes = tensor.data.size()});
    }
    for (const auto& tensor : facts.tensors) {
      auto& total = facts.types[tensor.type];
      ++total.tensors;
      total.parameters += tensor.parameters;
      total.bytes += tensor.bytes;
    }
  }

  static void look_at_text(Facts& facts) {
    const auto vocabulary = engine::Vocabulary::load(facts.checkpoint, facts.config);
    if (!vocabulary) {
      if (vocabulary.error().code != ErrorCode::not_found)
        facts.problems.push_back(vocabulary.error());
      return;
    }
    facts.tokenizer = vocabulary->tokenizer.vocabulary_size();
    const auto chat = engine::Chat::load(facts.checkpoint, vocabulary->tokenizer);
    if (!chat) {
      facts.problems.push_back(chat.error());
      return;
    }
    const std::array<Message, 1> messages = {Message{"user", "Hi"}};
    ChatTemplateOptions options;
    const auto thinking = chat->render(messages, options);
    options.enable_thinking = false;
    const auto direct = chat->render(messages, options);
    if (!thinking && thinking.error().code != ErrorCode::not_found)
      facts.problems.push_back(thinking.error());
    facts.has_template = thinking.has_value();
    facts.thinks = thinking && vocabulary->thinking_after(vocabulary->tokenizer.encode(*thinking));
    facts.switches = thinking && direct && *thinking != *direct;
  }

  static std::string layers_text(const model::Config& config) {
    std::string text = fmt::format("{}:", config.layers.size());
    for (const auto kind : {model::LayerKind::mamba, model::LayerKind::attention,
                            model::LayerKind::moe, model::LayerKind::mlp}) {
      if (const auto count = config.count(kind); count > 0)
        text += fmt::format("{} {} {}", text.ends_with(':') ? "" : ",", count, model::name(kind));
    }
    return text;
  }

  static std::string template_text(const Facts& facts) {
    if (!facts.has_template) return "none: only --raw prompts";
    std::string text = facts.thinks ? "yes, thinks first" : "yes, answers at once";
    return text + (facts.switches ? " (--think, --no-think)" : "");
  }

  std::string to_text(const Facts& facts) const {
    const auto& config = facts.config;
    std::string text = facts.checkpoint.display_name() + "\n";
    const auto line = [&text](std::string_view what, const std::string& value) {
      text += fmt::format("  {:<14} {}\n", what, value);
    };
    const auto files = facts.checkpoint.files().size();
    line("container",
         fmt::format("{}, {} file{}, {}", formats::name(facts.checkpoint.container()), files,
                     files == 1 ? "" : "s", human_bytes(facts.checkpoint.tensor_bytes())));
    line("architecture", config.architecture);
    if (facts.parameters > 0)
      line("parameters", fmt::format("{} ({:.2f} bits each)", human_count(facts.parameters),
                                     8 * static_cast<double>(facts.checkpoint.tensor_bytes()) /
                                         static_cast<double>(facts.parameters)));
    line("layers", layers_text(config));
    line("width", std::to_string(config.hidden_size));
    if (config.moe.experts > 0)
      line("experts",
           fmt::format("{}, {} used for each token", config.moe.experts, config.moe.top_k));
    line("context", config.max_position_embeddings == 0
                        ? "not said"
                        : fmt::format("{} tokens", config.max_position_embeddings));
    line("vocabulary", std::to_string(config.vocab_size));
    line("tokenizer", facts.tokenizer == 0 ? "none" : fmt::format("{} tokens", facts.tokenizer));
    line("chat template", template_text(facts));
    text += "\nWeights by type\n\n" + types_table(facts).markdown();
    if (!facts.memory.empty())
      text += fmt::format(
          "\nMemory by context length, cache in {}{}\n\n{}", engine::kv_label(facts.kv.config),
          facts.kv.from_name ? ", as the name asks for" : "", memory_table(facts).markdown());
    const auto made_for = config.max_position_embeddings;
    if (made_for != 0 && !facts.memory.empty() && facts.memory.back().first > made_for)
      text += fmt::format(
          "\nThe model was made for {} tokens: beyond them answers may make no sense\n", made_for);
    if (list_tensors_) text += "\nTensors\n\n" + tensors_table(facts).markdown();
    return printable(text);
  }

  static Table types_table(const Facts& facts) {
    using enum Table::Align;
    Table table({{"type", left}, {"tensors", right}, {"parameters", right}, {"bytes", right}});
    for (const auto& [type, total] : facts.types)
      table.add({type, std::to_string(total.tensors), std::to_string(total.parameters),
                 human_bytes(total.bytes)});
    return table;
  }

  static std::uint64_t total(const model::MemoryNeeds& needs) {
    return needs.weights + needs.kv + needs.state + needs.scratch;
  }

  static Table memory_table(const Facts& facts) {
    using enum Table::Align;
    Table table({{"context", right},
                 {"weights", right},
                 {"KV cache", right},
                 {"state", right},
                 {"scratch", right},
                 {"total", right}});
    for (const auto& [tokens, needs] : facts.memory)
      table.add({fmt::format("{}k", tokens / 1024), human_bytes(needs.weights),
                 human_bytes(needs.kv), human_bytes(needs.state), human_bytes(needs.scratch),
                 human_bytes(total(needs))});
    return table;
  }

  static Table tensors_table(const Facts& facts) {
    using enum Table::Align;
    Table table({{"name", left}, {"type", left}, {"shape", left}, {"bytes", right}});
    for (const auto& tensor : facts.tensors)
      table.add({tensor.name, tensor.type, tensor.shape, std::to_string(tensor.bytes)});
    return table;
  }

  json::object to_json(const Facts& facts) const {
    const auto& config = facts.config;
    json::object layers, types;
    for (const auto kind : {model::LayerKind::mamba, model::LayerKind::attention,
                            model::LayerKind::moe, model::LayerKind::mlp})
      layers[model::name(kind)] = config.count(kind);
    for (const auto& [type, sum] : facts.types)
      types[type] = {
          {"tensors", sum.tensors}, {"parameters", sum.parameters}, {"bytes", sum.bytes}};
    json::array files, memory, tensors, problems;
    for (const auto& file : facts.checkpoint.files())
      files.push_back({{"name", file.name}, {"bytes", file.bytes}});
    for (const auto& [tokens, needs] : facts.memory)
      memory.push_back({{"context", tokens},
                        {"weights", needs.weights},
                        {"kv", needs.kv},
                        {"state", needs.state},
                        {"scratch", needs.scratch},
                        {"total", total(needs)}});
    for (const auto& problem : facts.problems) problems.push_back(json::value(problem.message()));
    json::object object{{"model", facts.checkpoint.display_name()},
                        {"container", formats::name(facts.checkpoint.container())},
                        {"architecture", config.architecture},
                        {"files", files},
                        {"weight_bytes", facts.checkpoint.tensor_bytes()},
                        {"parameters", facts.parameters},
                        {"layers", layers},
                        {"hidden_size", config.hidden_size},
                        {"vocabulary", config.vocab_size},
                        {"context", config.max_position_embeddings},
                        {"experts", config.moe.experts},
                        {"experts_per_token", config.moe.top_k},
                        {"tokenizer", facts.tokenizer},
                        {"chat_template", facts.has_template},
                        {"thinks_by_default", facts.thinks},
                        {"kv", engine::kv_label(facts.kv.config)},
                        {"types", types},
                        {"memory", memory},
                        {"problems", problems}};
    if (list_tensors_) {
      for (const auto& tensor : facts.tensors)
        tensors.push_back({{"name", tensor.name},
                           {"role", tensor.role},
                           {"type", tensor.type},
                           {"shape", tensor.shape},
                           {"parameters", tensor.parameters},
                           {"bytes", tensor.bytes}});
      object["tensors"] = std::move(tensors);
    }
    return object;
  }

  ModelOptions model_;
  bool list_tensors_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_info() {
  return std::make_unique<Info>();
}

}  // namespace tern::cli
