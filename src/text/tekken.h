// The Tekken pre-tokenizer expression as a hand-written scanner: one pass, no memory.
//
// Source: mistralai/mistral-common, tekken_240718.json, "pattern"; the model's tokenizer.json.
#pragma once
#include <cstddef>
#include <string_view>

namespace tern::text {

inline constexpr std::string_view kTekkenExpression =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Bytes of the first match of kTekkenExpression in `text`, which is not empty. The expression
/// matches at the start of any text. Invalid bytes count as U+FFFD, as in PatternSearch.
std::size_t tekken_match(std::string_view text);

}  // namespace tern::text
