// The tokens of a model, and those among them that mean something to the engine.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace tern::engine {

/// Immutable; safe to share between threads.
struct Vocabulary {
  text::Tokenizer tokenizer;
  std::size_t size = 0;                   ///< ids that the model has an embedding for
  std::vector<TokenId> end_tokens = {};   ///< any of them ends an answer; ascending
  std::vector<TokenId> media = {};        ///< placeholders, which only a prompt may hold; ascending
  std::optional<TokenId> think = {};      ///< <think>
  std::optional<TokenId> end_think = {};  ///< </think>
  std::optional<TokenId> turn = {};       ///< <|im_start|>, which opens a turn

  bool ends(TokenId id) const;

  /// Whether `prompt` leaves the model thinking: whether its last think tag is an open one. Nothing
  /// when it has none.
  std::optional<bool> thinking_after(std::span<const TokenId> prompt) const;

  /// Reads the tokenizer, and gathers end tokens from config.json, generation_config.json,
  /// tokenizer_config.json or GGUF metadata, besides the family's own </s> and <|im_end|>.
  /// @error not_found  no tokenizer. @error corrupt, unsupported  as the tokenizer says.
  /// @error mismatch   more tokens than embedding rows, or an end token beyond them.
  static Result<Vocabulary> load(const formats::Checkpoint& checkpoint,
                                 const model::Config& config);
};

/// A JSON object beside the weights, or nothing when there is no such file.
/// @error corrupt  not JSON, or not an object; `where` is the file
Result<std::optional<json::object>> side_object(const formats::Checkpoint& checkpoint,
                                                std::string_view file);

/// "model/file", to name a file beside the weights in an error.
std::string side_name(const formats::Checkpoint& checkpoint, std::string_view file);

/// A special token as Hugging Face files write it: a string, or an object with "content".
std::optional<std::string> special_token(const json::object& object, std::string_view key);

}  // namespace tern::engine
