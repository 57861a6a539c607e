// Texts that test memory: sentences with facts among them, and questions about the facts.
//
// They are plain English in the forms that the embedded model was trained on (demo/train/data.py),
// which any other chat model understands as well.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "eval/random.h"
#include "eval/windows.h"

namespace tern::eval {

/// "The code for amber is 4821."
struct Fact {
  std::string text, question;
  std::string value;  ///< "4821"
};

/// Facts of one kind, no two about the same thing.
std::vector<Fact> make_facts(Random& random, std::size_t count);

/// A sentence that has nothing to do with any fact.
std::string filler_sentence(Random& random);

struct Turn {
  std::string question, answer;
};
using Conversation = std::vector<Turn>;

/// The tokens of `conversation` as the model's chat template renders it, without thinking; its
/// answers, each with the token that ends it, are scored.
/// @error unsupported  a template that does not repeat the turns as they are; else as Chat::render
Result<Window> transcript(const engine::Engine& engine, const Conversation& conversation);

/// Windows of nearly `context` tokens: facts among filler sentences, then questions about some of
/// them in successive turns. The same seed gives the same conversations.
/// @error too_large  no conversation is that short; else as transcript
Result<std::vector<Window>> recall_windows(const engine::Engine& engine, std::size_t context,
                                           std::size_t count, std::uint64_t seed);

}  // namespace tern::eval
