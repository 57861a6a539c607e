// Greedy answers from a sequence of any cache type, and whether they are right.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "eval/reading.h"

namespace tern::eval {

struct Question {
  std::string id, category;
  std::vector<TokenId> prompt;
  std::string expected;
  std::size_t max_tokens = 64;
};

/// Reads the prompt from an empty state and takes the likeliest token until one ends the answer, or
/// `max_tokens` were made. Placeholders of media are never taken.
/// @return the text after its thinking; nothing when it did not come to an end
/// @error too_large  prompt and answer do not fit the sequence; else as Engine::forward
Result<std::optional<std::string>> answer(engine::Engine& engine, state::Sequence& sequence,
                                          const Question& question, const Watch& watch);

/// A whole number is expected: the last number of the answer is it. Anything else: it occurs as
/// whole words.
bool is_right(std::string_view answer, std::string_view expected);

/// The prompt of a conversation by the model's template. Errors as Chat::render.
Result<std::vector<TokenId>> prompt_of(const engine::Engine& engine,
                                       std::span<const Message> messages, bool thinking);

/// Questions as JSON lines: {"id", "category", "messages", "enable_thinking", "expected"}; blank
/// lines are skipped.
/// @error corrupt  another shape, with the line. @error usage  no question at all
Result<std::vector<Question>> parse_questions(const engine::Engine& engine, std::string_view lines,
                                              std::string_view where);

/// Sums, differences and products that the embedded model can do; half of them with thinking.
Result<std::vector<Question>> arithmetic_questions(const engine::Engine& engine, std::size_t count,
                                                   std::uint64_t seed);

struct Accuracy {
  std::size_t asked = 0, right = 0;
  double share() const {
    return asked == 0 ? 0 : static_cast<double>(right) / static_cast<double>(asked);
  }
};

/// Asks every question of every sequence. @return for each sequence
Result<std::vector<Accuracy>> ask(engine::Engine& engine,
                                  std::span<state::Sequence* const> sequences,
                                  std::span<const Question> questions, std::string_view what,
                                  const Watch& watch);

}  // namespace tern::eval
