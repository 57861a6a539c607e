// tokenizer.json and what stands beside it, as the tokenizer keys of a GGUF file.
#include <algorithm>
#include <array>
#include <optional>

#include "base/json.h"
#include "base/printable.h"
#include "convert/gguf_metadata.h"
#include "convert/side_files.h"

namespace tern::convert {
namespace {

using formats::GgufKey;

constexpr std::string_view kFile = "tokenizer.json";
constexpr std::string_view kSettings = "tokenizer_config.json";
// Values of tokenizer.ggml.token_type.
constexpr std::int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::corrupt, std::move(what), std::string(kFile));
}

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

/// Whether the pre-tokenizer is the family's: its expression, then bytes as characters.
bool has_family_expression(const json::object& root) {
  const json::object* sequence = object_at(root, "pre_tokenizer");
  const json::value* list = sequence ? sequence->if_contains("pretokenizers") : nullptr;
  if (list == nullptr || !list->is_array() || list->get_array().empty()) return false;
  const json::object* split = list->get_array().front().if_object();
  const json::object* pattern = split ? object_at(*split, "pattern") : nullptr;
  const json::value* expression = pattern ? pattern->if_contains("Regex") : nullptr;
  return expression != nullptr && expression->is_string() &&
         std::string_view(expression->get_string()) == kTekkenExpression;
}

/// Special in llama.cpp's eyes although the file does not say so.
bool looks_special(std::string_view token) {
  return token.starts_with("<|") && token.ends_with("|>");
}

/// Tokens by id, and their types.
class Tokens {
 public:
  explicit Tokens(std::size_t count) : texts_(count), types_(count, kUnused) {
    for (std::size_t id = 0; id < count; ++id) texts_[id] = "[PAD" + std::to_string(id) + "]";
  }

  Result<void> add(std::string_view text, const json::value& id, std::int32_t type) {
    boost::system::error_code wrong;
    const auto index = id.to_number<std::uint64_t>(wrong);
    if (wrong || index >= texts_.size())
      return corrupt("token " + printable(text) + " has the id " + json::serialize(id) +
                     ", the model has embeddings for " + std::to_string(texts_.size()));
    texts_[index] = text;
    types_[index] = type;
    return {};
  }

  std::optional<std::uint32_t> find(std::string_view text) const {
    const auto found = std::ranges::find(texts_, text);
    if (found == texts_.end()) return std::nullopt;
    return static_cast<std::uint32_t>(found - texts_.begin());
  }

  std::vector<std::string> texts() && { return std::move(texts_); }
  const std::vector<std::int32_t>& types() const { return types_; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::int32_t> types_;
};

Result<Tokens> read_tokens(const json::object& root, const json::object& model, std::size_t count) {
  Tokens tokens(count);
  const json::object* vocabulary = object_at(model, "vocab");
  if (vocabulary == nullptr) return corrupt("no object \"vocab\"");
  for (const auto& [text, id] : *vocabulary) TERN_TRY_VOID(tokens.add(text, id, kNormal));
  const json::value* added = root.if_contains("added_tokens");
  if (added == nullptr || !added->is_array()) return tokens;
  for (const json::value& entry : added->get_array()) {
    const json::object* token = entry.if_object();
    const json::value* id = token ? token->if_contains("id") : nullptr;
    if (id == nullptr) return corrupt("an added token without an id");
    TERN_TRY(const auto text, get_string(*token, "content", kFile));
    TERN_TRY(const bool special, get_bool_or(*token, "special", false, kFile));
    TERN_TRY_VOID(tokens.add(text, *id, special || looks_special(text) ? kControl : kUserDefined));
  }
  return tokens;
}

/// "a b", or ["a", "b"] in newer files.
Result<std::vector<std::string>> read_merges(const json::object& model) {
  const json::value* list = model.if_contains("merges");
  if (list == nullptr || !list->is_array()) return corrupt("no array \"merges\"");
  std::vector<std::string> merges;
  merges.reserve(list->get_array().size());
  for (const json::value& entry : list->get_array()) {
    if (const json::string* text = entry.if_string()) {
      merges.emplace_back(*text);
      continue;
    }
    const json::array* pair = entry.if_array();
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_string())
      return corrupt("a merge is " + json::serialize(entry) + ", expected two tokens");
    merges.push_back(std::string((*pair)[0].get_string()) + " " +
                     std::string((*pair)[1].get_string()));
  }
  return merges;
}

/// "</s>", or {"content": "</s>", ...}.
std::string_view token_text(const json::object& settings, std::string_view key) {
  const json::value* value = settings.if_contains(key);
  if (value != nullptr && value->is_object()) value = value->get_object().if_contains("content");
  return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                : std::string_view();
}

/// Ids of special tokens, and whether they are put around a text.
void add_special(const json::object& settings, const model::Config& config, const Tokens& tokens,
                 std::vector<GgufKey>& keys) {
  std::optional<std::uint32_t> bos = config.bos_token_id, eos;
  if (!config.eos_token_ids.empty()) eos = config.eos_token_ids.front();
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNames = {
      {{"bos_token", "bos"},
       {"eos_token", "eos"},
       {"unk_token", "unknown"},
       {"pad_token", "padding"}}};
  for (const auto& [name, key] : kNames) {
    std::optional<std::uint32_t> id;
    if (const std::string_view text = token_text(settings, name); !text.empty())
      id = tokens.find(text);
    if (!id && key == "bos") id = bos;
    if (!id && key == "eos") id = eos;
    if (id) keys.push_back({"tokenizer.ggml." + std::string(key) + "_token_id", *id});
  }
  for (const std::string_view name : {"add_bos_token", "add_eos_token"})
    if (const json::value* value = settings.if_contains(name); value != nullptr && value->is_bool())
      keys.push_back({"tokenizer.ggml." + std::string(name), value->get_bool()});
}

/// A file of its own, or a key of tokenizer_config.json.
Result<void> add_template(const formats::Checkpoint& checkpoint, const json::object& settings,
                          std::vector<GgufKey>& keys) {
  TERN_TRY(const auto own, checkpoint.side_file("chat_template.jinja"));
  const json::value* inside = settings.if_contains("chat_template");
  std::string text;
  if (own)
    text = *own;
  else if (inside != nullptr && inside->is_string())
    text = inside->get_string();
  if (!text.empty()) keys.push_back({"tokenizer.chat_template", std::move(text)});
  return {};
}

Result<json::object> read_settings(const formats::Checkpoint& checkpoint) {
  TERN_TRY(const auto text, checkpoint.side_file(kSettings));
  if (!text) return json::object();
  TERN_TRY(json::value value, parse_json(*text, kSettings));
  if (!value.is_object())
    return fail(ErrorCode::corrupt, "expected an object", std::string(kSettings));
  return std::move(value.get_object());
}

}  // namespace

Result<std::vector<GgufKey>> gguf_tokenizer(const formats::Checkpoint& checkpoint,
                                            const model::Config& config) {
  std::vector<GgufKey> keys;
  TERN_TRY(const auto text, checkpoint.side_file(kFile));
  if (!text) return keys;
  TERN_TRY(const json::value file, parse_json(*text, kFile));
  const json::object* root = file.if_object();
  const json::object* model = root ? object_at(*root, "model") : nullptr;
  const json::value* type = model ? model->if_contains("type") : nullptr;
  if (type == nullptr || !type->is_string() || type->get_string() != "BPE" ||
      !has_family_expression(*root))
    return fail(ErrorCode::unsupported,
                "the tokenizer is no byte-level BPE with the family's expression",
                std::string(kFile), "GGUF files name expressions, and this one has no name");
  TERN_TRY(Tokens tokens, read_tokens(*root, *model, config.vocab_size));
  TERN_TRY(auto merges, read_merges(*model));
  TERN_TRY(const json::object settings, read_settings(checkpoint));
  keys.push_back({"tokenizer.ggml.model", std::string("gpt2")});
  keys.push_back({"tokenizer.ggml.pre", std::string("pixtral")});
  keys.push_back({"tokenizer.ggml.token_type", tokens.types()});
  keys.push_back({"tokenizer.ggml.merges", std::move(merges)});
  add_special(settings, config, tokens, keys);
  TERN_TRY_VOID(add_template(checkpoint, settings, keys));
  keys.push_back({"tokenizer.ggml.tokens", std::move(tokens).texts()});
  return keys;
}

}  // namespace tern::convert
