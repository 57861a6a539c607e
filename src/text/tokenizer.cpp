#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"
#include "text/normalizer.h"
#include "text/tekken.h"
#include "text/tokenizer_parts.h"

namespace tern::text {
namespace {

class TextEncoder {
 public:
  TextEncoder(const Tokenizer::Data& data, std::vector<TokenId>& out)
      : data_(data), bpe_(data.bpe), out_(out) {}

  void encode(std::string_view text, Specials specials) {
    if (specials == Specials::ignore) return plain(normalized(text));
    std::vector<TextSpan> spans;
    data_.raw_added.split(text, spans);
    std::vector<TextSpan> inner;
    for (const auto& [span, token] : spans) {
      if (token) {
        out_.push_back(*token);
        continue;
      }
      inner.clear();
      data_.normalized_added.split(normalized(span), inner);
      for (const auto& [rest, inner_token] : inner) {
        if (inner_token)
          out_.push_back(*inner_token);
        else
          plain(rest);
      }
    }
  }

 private:
  std::string_view normalized(std::string_view text) {
    if (!data_.nfc) return text;
    normalized_ = to_nfc(text);
    return normalized_;
  }

  void plain(std::string_view text) {
    data_.pre_tokenizer.split(text, pieces_);
    for (const std::string_view piece : pieces_.pieces) bpe_.encode(piece, out_);
  }

  const Tokenizer::Data& data_;
  BpeEncoder bpe_;
  Pieces pieces_;
  std::string normalized_;
  std::vector<TokenId>& out_;
};

struct GgufPreTokenizer {
  std::string_view name;
  std::vector<std::string_view> expressions;
  bool ignore_merges;
};

/// Names of tokenizer.ggml.pre. Source: ggml-org/llama.cpp, llama-vocab.cpp; but "pixtral" is what
/// files of this family carry, and their tokenizer.json says Tekken.
const std::vector<GgufPreTokenizer>& gguf_pre_tokenizers() {
  static constexpr std::string_view kLlama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
      R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static constexpr std::string_view kQwen2 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
      R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static const std::vector<GgufPreTokenizer> known = {
      {"pixtral", {kTekkenExpression}, true},
      {"tekken", {kTekkenExpression}, true},
      {"llama-bpe", {kLlama3}, true},
      {"qwen2", {kQwen2}, false},
      {"gpt-2", {kGpt2Expression}, false},
      {"default",
       {R"([\p{P}\$\+<=>\^~\|]+)",
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))", R"(\p{N}+)",
        R"([0-9][0-9][0-9])"},
       false},
  };
  return known;
}

Result<void> set_gguf_pre_tokenizer(TokenizerParts& parts, std::string_view pre,
                                    std::string_view where) {
  const auto& known = gguf_pre_tokenizers();
  const auto found = std::ranges::find(known, pre, &GgufPreTokenizer::name);
  if (found == known.end()) {
    std::string names;
    for (const auto& each : known) names += (names.empty() ? "" : ", ") + std::string(each.name);
    return fail(ErrorCode::unsupported,
                "tokenizer.ggml.pre is " + printable(pre) + "; known are " + names,
                std::string(where));
  }
  for (const std::string_view expression : found->expressions)
    TERN_TRY_VOID(parts.pre_tokenizer.add_split(expression, SplitBehavior::isolated, false, where));
  parts.ignore_merges = found->ignore_merges;
  return {};
}

/// The types of tokens, tokenizer.ggml.token_type. Source: ggml-org/llama.cpp, llama.h.
enum GgufType : std::uint64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kByte = 6
};

}  // namespace

Result<Tokenizer> Tokenizer::from_gguf(std::span<const std::string_view> tokens,
                                       std::span<const std::uint64_t> types,
                                       std::span<const std::string_view> merges,
                                       std::string_view pre, std::string_view where) {
  if (!types.empty() && types.size() != tokens.size())
    return fail(ErrorCode::corrupt,
                std::to_string(tokens.size()) + " tokens, but " + std::to_string(types.size()) +
                    " token types",
                std::string(where) + ", tokenizer.ggml.token_type");
  if (tokens.size() > kMaxTokenId)
    return fail(ErrorCode::too_large,
                std::to_string(tokens.size()) + " tokens, at most " + std::to_string(kMaxTokenId),
                std::string(where) + ", tokenizer.ggml.tokens");
  TokenizerParts parts;
  TERN_TRY_VOID(set_gguf_pre_tokenizer(parts, pre, where));
  parts.vocabulary.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    parts.vocabulary.push_back({tokens[id], id});
    const std::uint64_t type = types.empty() ? kNormal : types[id];
    if (type < kNormal || type > kByte)
      return fail(ErrorCode::corrupt,
                  "token " + std::to_string(id) + " has type " + std::to_string(type) +
                      ", types are 1 to 6",
                  std::string(where) + ", tokenizer.ggml.token_type");
    const bool added = type == kControl || type == kUserDefined || type == kUnknown;
    if (added && !tokens[id].empty())
      parts.added.push_back({.id = static_cast<TokenId>(id),
                             .content = std::string(tokens[id]),
                             .special = type != kUserDefined});
  }
  parts.merges.reserve(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::size_t space = merges[rank].find(' ');
    if (space == std::string_view::npos || merges[rank].find(' ', space + 1) != merges[rank].npos)
      return fail(ErrorCode::corrupt,
                  "merge " + std::to_string(rank) +
                      " is not two tokens with a space between: " + printable(merges[rank]),
                  std::string(where) + ", tokenizer.ggml.merges");
    parts.merges.emplace_back(merges[rank].substr(0, space), merges[rank].substr(space + 1));
  }
  TERN_TRY(auto data, Data::build(std::move(parts), where));
  return Tokenizer(std::move(data));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, Specials specials) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3);
  TextEncoder(*data_, ids).encode(text, specials);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string bytes;
  for (const TokenId id : ids)
    if (!(skip_special && is_special(id))) bytes.append(token_bytes(id));
  return bytes;
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  if (id >= data_->texts.size()) return {};
  const auto& text = data_->texts[id];
  return std::string_view(data_->pool).substr(text.offset, text.bytes);
}

bool Tokenizer::is_special(TokenId id) const {
  return id < data_->texts.size() && data_->texts[id].special;
}

std::optional<TokenId> Tokenizer::special_id(std::string_view text) const {
  const auto found = data_->added_ids.find(text);
  if (found == data_->added_ids.end()) return std::nullopt;
  return found->second;
}

std::size_t Tokenizer::vocabulary_size() const {
  return data_->texts.size();
}

}  // namespace tern::text
