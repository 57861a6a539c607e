#include "engine/context.h"

#include <algorithm>

namespace tern::engine {
namespace {

// Before the present answer, and before the last one: a conversation goes on, its last message is
// edited, or an answer is asked for anew.
constexpr std::size_t kMarks = 2;

std::size_t common_start(std::span<const TokenId> a, std::span<const TokenId> b) {
  const auto [first, second] = std::ranges::mismatch(a, b);
  return static_cast<std::size_t>(first - a.begin());
}

}  // namespace

Result<void> Context::allocate() {
  if (sequence_ && sequence_->position() == tokens_.size()) return {};
  // A step that ended with an exception leaves the two apart.
  reset();
  if (sequence_) return {};
  TERN_TRY(sequence_, engine_->new_sequence());
  return {};
}

Result<std::size_t> Context::keep_start_of(std::span<const TokenId> prompt) {
  TERN_TRY_VOID(allocate());
  const std::size_t common = common_start(tokens_, prompt);
  if (common == tokens_.size() && common < prompt.size()) return common;

  const std::size_t most = std::min(common, prompt.size() - 1);
  std::erase_if(marks_, [&](const state::Snapshot& mark) { return mark.position() > most; });
  if (marks_.empty() || !engine_->restore(*sequence_, marks_.back())) {
    reset();
    return 0;
  }
  tokens_.resize(marks_.back().position());
  return tokens_.size();
}

model::Part Context::part(std::span<const TokenId> tokens, model::LogitsMode mode) {
  tokens_.reserve(tokens_.size() + tokens.size());
  return {.tokens = tokens, .sequence = &*sequence_, .mode = mode};
}

Result<void> Context::took(const model::Part& part) {
  if (part.result) {
    tokens_.insert(tokens_.end(), part.tokens.begin(), part.tokens.end());
  } else if (sequence_->position() != tokens_.size()) {
    reset();
  }
  return part.result;
}

Result<void> Context::read(std::span<const TokenId> tokens, model::LogitsMode mode,
                           std::span<float> logits) {
  TERN_TRY_VOID(allocate());
  model::Part next = part(tokens, mode);
  next.logits = logits;
  engine_->forward({&next, 1});
  return took(next);
}

void Context::mark() {
  if (!sequence_ || tokens_.empty()) return;
  if (!marks_.empty() && marks_.back().position() == tokens_.size()) return;
  if (marks_.size() == kMarks) marks_.erase(marks_.begin());
  if (auto snapshot = engine_->snapshot(*sequence_)) marks_.push_back(*std::move(snapshot));
}

Result<void> Context::rest() {
  return sequence_ ? engine_->rest(*sequence_) : Result<void>();
}

void Context::reset() {
  if (sequence_) sequence_->reset();
  tokens_.clear();
  marks_.clear();
}

}  // namespace tern::engine
