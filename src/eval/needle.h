// A fact hidden in a long text, at many depths and lengths, and the question for it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "eval/answering.h"

namespace tern::eval {

struct NeedleOptions {
  std::vector<std::size_t> lengths = {512, 1024, 2048, 4096};  ///< tokens of the prompt, at most
  std::size_t depths = 11;      ///< evenly from 0 (the beginning) to 1 (the end)
  std::size_t repeats = 1;      ///< of each cell, with other texts
  std::size_t distractors = 4;  ///< facts of the same kind about other things
  std::uint64_t seed = 1;
};

/// One place of the grid.
struct NeedleCell {
  std::size_t length = 0;
  double depth = 0;
  Accuracy accuracy;
};

/// The prompt of one place: sentences, the fact after the part `depth` of them, the question; as
/// long as whole sentences allow below `length` tokens. No thinking.
/// @error too_large  not even the fact and its question fit; else as Chat::render
Result<Question> needle_question(const engine::Engine& engine, std::size_t length, double depth,
                                 std::size_t distractors, std::uint64_t seed);

/// For each of `sequences` the grid, by length and then by depth. All see the same prompts.
/// @error usage      no length or depth
/// @error too_large  a length that the model was not made for
Result<std::vector<std::vector<NeedleCell>>> find_needles(
    engine::Engine& engine, std::span<state::Sequence* const> sequences,
    const NeedleOptions& options, const Watch& watch);

/// All cells together.
Accuracy total(std::span<const NeedleCell> cells);

/// Tokens that a sequence must hold for prompts of `options` and their answers.
std::size_t needle_capacity(const NeedleOptions& options);

}  // namespace tern::eval
