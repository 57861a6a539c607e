#include "engine/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tern::engine {
namespace {

using formats::Checkpoint;
using formats::Container;

// Specification of the family, section 7.1. Text-only tokenizers keep the media ids unnamed.
constexpr std::array<std::pair<TokenId, std::string_view>, 6> kMedia = {{{18, "<image>"},
                                                                         {19, "<img>"},
                                                                         {20, "</img>"},
                                                                         {27, "<so_embedding>"},
                                                                         {28, "<so_start>"},
                                                                         {29, "<so_end>"}}};
constexpr std::array<std::string_view, 2> kEndTexts = {"</s>", "<|im_end|>"};

/// An end token that a file names, and the place for errors.
struct Claim {
  std::uint64_t id;
  std::string where;
};

Result<text::Tokenizer> tokenizer_of_directory(const Checkpoint& checkpoint) {
  constexpr std::string_view kFile = "tokenizer.json";
  TERN_TRY(const std::optional<std::string_view> source, checkpoint.side_file(kFile));
  if (!source)
    return fail(ErrorCode::not_found, "no tokenizer.json beside the weights",
                checkpoint.display_name(), "download the whole model directory, not only weights");
  return text::Tokenizer::from_json(*source, side_name(checkpoint, kFile));
}

Result<text::Tokenizer> tokenizer_of_gguf(const Checkpoint& checkpoint) {
  const formats::GgufMetadata& metadata = checkpoint.metadata();
  TERN_TRY(const std::string_view model, metadata.get_string("tokenizer.ggml.model"));
  if (model != "gpt2")
    return fail(ErrorCode::unsupported,
                fmt::format("tokenizer.ggml.model is \"{}\", expected \"gpt2\"", model),
                checkpoint.display_name(), "the family has a byte-level BPE tokenizer");
  TERN_TRY(const std::span<const std::string_view> tokens,
           metadata.get_strings("tokenizer.ggml.tokens"));
  TERN_TRY(const std::span<const std::string_view> merges,
           metadata.get_strings("tokenizer.ggml.merges"));
  std::vector<std::uint64_t> types;
  if (metadata.find("tokenizer.ggml.token_type")) {
    TERN_TRY(types, metadata.get_uints("tokenizer.ggml.token_type"));
  }
  std::string_view pre = "pixtral";
  if (metadata.find("tokenizer.ggml.pre")) {
    TERN_TRY(pre, metadata.get_string("tokenizer.ggml.pre"));
  }
  return text::Tokenizer::from_gguf(tokens, types, merges, pre, checkpoint.display_name());
}

/// "eos_token_id": one id or a list.
Result<void> add_ids(const json::object& object, std::string_view key, const std::string& where,
                     std::vector<Claim>& claims) {
  const json::value* value = object.if_contains(key);
  if (!value || value->is_null()) return {};
  const auto add = [&](const json::value& id) -> Result<void> {
    boost::system::error_code wrong;
    const auto number = id.to_number<std::uint64_t>(wrong);
    if (wrong)
      return fail(ErrorCode::corrupt,
                  fmt::format("{} holds {}, expected token ids", key, json::serialize(id)), where);
    claims.push_back({number, where});
    return {};
  };
  if (!value->is_array()) return add(*value);
  for (const json::value& id : value->get_array()) TERN_TRY_VOID(add(id));
  return {};
}

Result<std::vector<Claim>> end_token_claims(const Checkpoint& checkpoint,
                                            const model::Config& config,
                                            const text::Tokenizer& tokenizer) {
  std::vector<Claim> claims;
  for (const std::uint32_t id : config.eos_token_ids)
    claims.push_back({id, checkpoint.display_name()});
  for (const std::string_view text : kEndTexts) {
    if (const auto id = tokenizer.special_id(text)) claims.push_back({*id, std::string(text)});
  }
  if (checkpoint.container() == Container::gguf) {
    for (const std::string_view key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      if (!checkpoint.metadata().find(key)) continue;
      TERN_TRY(const std::uint64_t id, checkpoint.metadata().get_uint(key));
      claims.push_back({id, checkpoint.display_name()});
    }
    return claims;
  }
  constexpr std::string_view kGeneration = "generation_config.json";
  TERN_TRY(const auto generation, side_object(checkpoint, kGeneration));
  if (generation) {
    TERN_TRY_VOID(add_ids(*generation, "eos_token_id", side_name(checkpoint, kGeneration), claims));
  }
  constexpr std::string_view kTokenizer = "tokenizer_config.json";
  TERN_TRY(const auto tokenizer_config, side_object(checkpoint, kTokenizer));
  if (tokenizer_config) {
    const auto text = special_token(*tokenizer_config, "eos_token");
    const auto id = text ? tokenizer.special_id(*text) : std::nullopt;
    if (id) claims.push_back({*id, side_name(checkpoint, kTokenizer)});
  }
  return claims;
}

void sort_unique(std::vector<TokenId>& ids) {
  std::ranges::sort(ids);
  const auto repeated = std::ranges::unique(ids);
  ids.erase(repeated.begin(), repeated.end());
}

}  // namespace

bool Vocabulary::ends(TokenId id) const {
  return std::ranges::binary_search(end_tokens, id);
}

std::optional<bool> Vocabulary::thinking_after(std::span<const TokenId> prompt) const {
  for (std::size_t index = prompt.size(); index-- > 0;) {
    if (prompt[index] == think) return true;
    if (prompt[index] == end_think) return false;
  }
  return std::nullopt;
}

Result<Vocabulary> Vocabulary::load(const Checkpoint& checkpoint, const model::Config& config) {
  TERN_TRY(text::Tokenizer tokenizer, checkpoint.container() == Container::gguf
                                          ? tokenizer_of_gguf(checkpoint)
                                          : tokenizer_of_directory(checkpoint));
  if (tokenizer.vocabulary_size() > config.vocab_size)
    return fail(ErrorCode::mismatch,
                fmt::format("the tokenizer has {} tokens, the model has embeddings for {}",
                            tokenizer.vocabulary_size(), config.vocab_size),
                checkpoint.display_name(), "the tokenizer belongs to another model");
  Vocabulary vocabulary = {.tokenizer = tokenizer, .size = config.vocab_size};
  TERN_TRY(const std::vector<Claim> claims, end_token_claims(checkpoint, config, tokenizer));
  for (const Claim& claim : claims) {
    if (claim.id >= config.vocab_size)
      return fail(ErrorCode::mismatch,
                  fmt::format("end token {} lies outside the vocabulary of {}", claim.id,
                              config.vocab_size),
                  claim.where, "configuration and weights belong to different models");
    vocabulary.end_tokens.push_back(static_cast<TokenId>(claim.id));
  }
  sort_unique(vocabulary.end_tokens);
  for (const auto& [number, text] : kMedia) {
    for (const auto& id :
         {tokenizer.special_id(text), tokenizer.special_id(fmt::format("<SPECIAL_{}>", number))}) {
      if (id) vocabulary.media.push_back(*id);
    }
  }
  sort_unique(vocabulary.media);
  vocabulary.think = tokenizer.special_id("<think>");
  vocabulary.end_think = tokenizer.special_id("</think>");
  vocabulary.turn = tokenizer.special_id("<|im_start|>");
  return vocabulary;
}

Result<std::optional<json::object>> side_object(const Checkpoint& checkpoint,
                                                std::string_view file) {
  TERN_TRY(const std::optional<std::string_view> source, checkpoint.side_file(file));
  if (!source) return std::nullopt;
  const std::string where = side_name(checkpoint, file);
  TERN_TRY(json::value value, parse_json(*source, where));
  if (!value.is_object())
    return fail(ErrorCode::corrupt, "expected a JSON object at the top level", where);
  return std::move(value.get_object());
}

std::string side_name(const Checkpoint& checkpoint, std::string_view file) {
  return fmt::format("{}/{}", checkpoint.display_name(), file);
}

std::optional<std::string> special_token(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value && value->is_object()) value = value->get_object().if_contains("content");
  if (!value || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

}  // namespace tern::engine
