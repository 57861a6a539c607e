#include "convert/side_files.h"

#include <algorithm>
#include <array>

#include "base/json.h"
#include "base/printable.h"

namespace tern::convert {
namespace {

constexpr std::array<std::string_view, 18> kSideFiles = {"generation_config.json",
                                                         "tokenizer.json",
                                                         "tokenizer_config.json",
                                                         "special_tokens_map.json",
                                                         "chat_template.jinja",
                                                         "chat_template.json",
                                                         "added_tokens.json",
                                                         "vocab.json",
                                                         "merges.txt",
                                                         "preprocessor_config.json",
                                                         "processor_config.json",
                                                         "video_preprocessor_config.json",
                                                         "README.md",
                                                         "LICENSE",
                                                         "LICENSE.md",
                                                         "NOTICE",
                                                         "bias.md",
                                                         "explainability.md"};

// Of tokenizer.ggml.token_type.
constexpr std::uint64_t kUnknown = 2, kControl = 3, kUserDefined = 4;

json::object byte_level(bool prefix_space, bool trim, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", trim},
          {"use_regex", use_regex}};
}

json::object added_token(std::uint64_t id, std::string_view content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

struct Vocabulary {
  std::span<const std::string_view> tokens, merges;
  std::vector<std::uint64_t> types;  ///< of each token; 1 when the file says nothing
};

Result<Vocabulary> read_vocabulary(const formats::GgufMetadata& metadata,
                                   const std::string& where) {
  TERN_TRY(const auto model, metadata.get_string("tokenizer.ggml.model"));
  std::string_view pre = "pixtral";
  if (metadata.find("tokenizer.ggml.pre") != nullptr) {
    TERN_TRY(pre, metadata.get_string("tokenizer.ggml.pre"));
  }
  if (model != "gpt2" || (pre != "pixtral" && pre != "tekken"))
    return fail(ErrorCode::unsupported,
                "no tokenizer.json can be made of a " + printable(model) + " tokenizer, type " +
                    printable(pre),
                where, "this family has byte-level BPE with the expression of Tekken");
  Vocabulary out;
  TERN_TRY(out.tokens, metadata.get_strings("tokenizer.ggml.tokens"));
  TERN_TRY(out.merges, metadata.get_strings("tokenizer.ggml.merges"));
  if (metadata.find("tokenizer.ggml.token_type") != nullptr) {
    TERN_TRY(out.types, metadata.get_uints("tokenizer.ggml.token_type"));
  }
  out.types.resize(out.tokens.size(), 1);
  return out;
}

std::string tokenizer_json(const Vocabulary& vocabulary) {
  json::array added, merges;
  json::object tokens;
  tokens.reserve(vocabulary.tokens.size());
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string_view token = vocabulary.tokens[id];
    tokens[token] = id;
    const std::uint64_t type = vocabulary.types[id];
    if (type == kUnknown || type == kControl || type == kUserDefined)
      added.push_back(added_token(id, token, type != kUserDefined));
  }
  merges.reserve(vocabulary.merges.size());
  for (const std::string_view merge : vocabulary.merges) {
    const std::size_t space = merge.find(' ');
    merges.push_back(json::array{merge.substr(0, space), merge.substr(space + 1)});
  }
  json::object model = {{"type", "BPE"},
                        {"dropout", nullptr},
                        {"unk_token", nullptr},
                        {"continuing_subword_prefix", nullptr},
                        {"end_of_word_suffix", nullptr},
                        {"fuse_unk", false},
                        {"byte_fallback", false},
                        {"ignore_merges", true}};
  model["vocab"] = std::move(tokens);
  model["merges"] = std::move(merges);
  const json::object split = {{"type", "Split"},
                              {"pattern", {{"Regex", kTekkenExpression}}},
                              {"behavior", "Isolated"},
                              {"invert", false}};
  json::object out = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", std::move(added)},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "Sequence"}, {"pretokenizers", {split, byte_level(false, true, false)}}}},
      {"post_processor", byte_level(true, false, true)},
      {"decoder", byte_level(true, true, true)}};
  out["model"] = std::move(model);
  return json::serialize(out) + "\n";
}

/// {"eos_token": "<|im_end|>", ...}
std::string tokenizer_config(const Vocabulary& vocabulary, const formats::GgufMetadata& metadata,
                             std::size_t context) {
  json::object out = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"bos_token", "tokenizer.ggml.bos_token_id"},
      {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},
      {"pad_token", "tokenizer.ggml.padding_token_id"}};
  for (const auto& [key, from] : kNames)
    if (const auto id = metadata.get_uint(from); id && *id < vocabulary.tokens.size())
      out[key] = vocabulary.tokens[*id];
  out["add_bos_token"] = false;  // the family's tokenizer never adds one, whatever the key says
  out["add_eos_token"] = false;
  out["clean_up_tokenization_spaces"] = false;
  if (context > 0) out["model_max_length"] = context;
  return json::serialize(out) + "\n";
}

std::string generation_config(const formats::GgufMetadata& metadata) {
  json::object out;
  if (const auto bos = metadata.get_uint("tokenizer.ggml.bos_token_id")) out["bos_token_id"] = *bos;
  json::array ends;
  for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
    if (const auto id = metadata.get_uint(key))
      if (std::ranges::find(ends, json::value(*id)) == ends.end()) ends.push_back(*id);
  if (!ends.empty()) out["eos_token_id"] = std::move(ends);
  return json::serialize(out) + "\n";
}

Result<std::vector<SmallFile>> files_of_gguf(const Source& source) {
  const formats::GgufMetadata& metadata = source.checkpoint().metadata();
  std::vector<SmallFile> files;
  if (metadata.find("tokenizer.ggml.tokens") == nullptr) return files;
  TERN_TRY(const Vocabulary vocabulary,
           read_vocabulary(metadata, source.checkpoint().display_name()));
  files.push_back({"tokenizer.json", tokenizer_json(vocabulary)});
  files.push_back(
      {"tokenizer_config.json",
       tokenizer_config(vocabulary, metadata, source.config().max_position_embeddings)});
  files.push_back({"generation_config.json", generation_config(metadata)});
  if (const auto text = metadata.get_string("tokenizer.chat_template"))
    files.push_back({"chat_template.jinja", std::string(*text)});
  return files;
}

}  // namespace

Result<std::vector<SmallFile>> side_files(const Source& source) {
  if (source.is_gguf()) return files_of_gguf(source);
  std::vector<SmallFile> files;
  for (const std::string_view name : kSideFiles) {
    TERN_TRY(const auto text, source.checkpoint().side_file(name));
    if (text) files.push_back({std::string(name), std::string(*text)});
  }
  return files;
}

}  // namespace tern::convert
