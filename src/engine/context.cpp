#include "engine/context.h"

#include <algorithm>
#include <string>

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
  TERN_TRY(sequence_, engine_->new_sequence(kv_));
  return {};
}

Result<std::size_t> Context::keep_start_of(std::span<const TokenId> prompt) {
  TERN_TRY_VOID(allocate());
  const std::size_t common = common_start(tokens_, prompt);
  if (common == tokens_.size() && common < prompt.size()) return common;

  return go_back(std::min(common, prompt.size() - 1));
}

std::size_t Context::go_back(std::size_t position) {
  if (position >= tokens_.size()) return tokens_.size();
  std::erase_if(marks_, [&](const auto& mark) { return mark->position() > position; });
  if (marks_.empty() || !engine_->restore(*sequence_, *marks_.back())) {
    reset();
    return 0;
  }
  tokens_.resize(marks_.back()->position());
  return tokens_.size();
}

Result<Context> Context::fork() const {
  Context copy(*engine_, kv_);
  copy.tokens_ = tokens_;
  copy.marks_ = marks_;
  if (sequence_) {
    TERN_TRY(copy.sequence_, sequence_->fork());
  }
  return copy;
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
  if (!marks_.empty() && marks_.back()->position() == tokens_.size()) return;
  if (marks_.size() == kMarks) marks_.erase(marks_.begin());
  if (auto snapshot = engine_->snapshot(*sequence_))
    marks_.push_back(std::make_shared<const state::Snapshot>(*std::move(snapshot)));
}

Result<void> Context::store(const state::Sink& sink) const {
  if (sequence_) return engine_->store(*sequence_, sink);
  TERN_TRY(const state::Sequence empty, engine_->new_sequence(kv_));
  return engine_->store(empty, sink);
}

Result<void> Context::load(std::vector<TokenId> tokens, state::Source& source) {
  TERN_TRY_VOID(allocate());
  TERN_TRY_VOID(sequence_->load(source));
  if (sequence_->position() != tokens.size() || source.remaining() != 0) {
    const std::string what = std::to_string(tokens.size()) + " tokens with the state of " +
                             std::to_string(sequence_->position()) + " and " +
                             std::to_string(source.remaining()) + " bytes more";
    reset();
    return fail(ErrorCode::corrupt, what);
  }
  if (std::ranges::any_of(tokens, [&](TokenId id) { return id >= engine_->vocabulary().size; })) {
    reset();
    return fail(ErrorCode::corrupt, "a token outside the vocabulary");
  }
  marks_.clear();
  tokens_ = std::move(tokens);
  return {};
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
