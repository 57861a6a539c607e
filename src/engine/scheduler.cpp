#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <new>

#include "base/memory.h"

namespace tern::engine {
namespace {

/// What conversations may take of the machine: three quarters of what the weights leave. Weights
/// that are pushed out of the page cache cost more than any batch gains.
std::uint64_t default_memory(const Engine& engine) {
  const std::uint64_t machine = physical_memory(), weights = engine.model().weight_bytes();
  return weights >= machine ? 0 : (machine - weights) / 4 * 3;
}

Error no_memory() {
  return {ErrorCode::no_memory, "out of memory while generating", "batch", ""};
}

}  // namespace

void Scheduler::Running::finish() {
  if (!job.on_done) return;
  if (result)
    job.on_done(answer ? std::move(*answer).result() : Generation{});
  else
    job.on_done(std::unexpected(result.error()));
}

Scheduler::Scheduler(Engine& engine, const BatchOptions& options)
    : engine_(&engine),
      most_(std::max<std::size_t>(options.sequences, 1)),
      memory_(options.memory != 0 ? options.memory : default_memory(engine)) {}

void Scheduler::submit(Job job) {
  if (waiting_.empty() && running_.empty()) prompt_total_ = 0;
  prompt_total_ += job.prompt.size();
  waiting_.push_back(std::move(job));
}

bool Scheduler::step() try {
  if (waiting_.empty() && running_.empty()) return false;
  drop_cancelled();
  admit();
  if (gather()) {
    engine_->forward(parts_);
    read_all();
    if (reading_) report();
  }
  retire();
  return true;
} catch (const std::bad_alloc&) {
  fail_all(no_memory());
  return true;
}

/// Sends those away who no longer want to wait.
void Scheduler::drop_cancelled() {
  std::vector<Job> gone;
  const auto wants = [](const Job& job) {
    return job.cancel == nullptr || !job.cancel->requested();
  };
  const auto left = std::ranges::stable_partition(waiting_, wants);
  std::ranges::move(left, std::back_inserter(gone));
  waiting_.erase(left.begin(), left.end());
  for (const Job& job : gone) {
    Generation nothing;
    nothing.finish = FinishReason::cancelled;
    nothing.prompt_tokens = job.prompt.size();
    if (job.on_done) job.on_done(std::move(nothing));
  }
}

/// In order of arrival, and nobody overtakes: a large request is not put off for ever.
void Scheduler::admit() {
  while (!waiting_.empty() && running_.size() < most_) {
    auto next = std::make_unique<Running>();
    next->job = std::move(waiting_.front());
    waiting_.pop_front();
    auto begun = begin(*next);
    if (begun && !*begun) {
      waiting_.push_front(std::move(next->job));
      return;
    }
    if (!begun) next->result = std::unexpected(begun.error());
    running_.push_back(std::move(next));
  }
}

/// @return false: there is no memory for it while the others hold theirs
Result<bool> Scheduler::begin(Running& next) try {
  Job& job = next.job;
  TERN_TRY(Request request, resolve(*engine_, job.prompt, job.options));
  next.bytes = engine_->bytes_of(job.prompt.size() + request.max_tokens);
  std::uint64_t held = 0;
  for (const auto& other : running_) held += other->bytes;
  if (!running_.empty() && (held > memory_ || next.bytes > memory_ - held)) return false;
  if (job.context == nullptr) next.context.emplace(*engine_);
  auto answer =
      Answer::begin(*engine_, job.context != nullptr ? *job.context : *next.context, job.prompt,
                    std::move(request), job.options, job.on_piece, job.cancel);
  if (!answer) {
    if (answer.error().code == ErrorCode::no_memory && !running_.empty()) return false;
    return std::unexpected(answer.error());
  }
  next.answer.emplace(*std::move(answer));
  return true;
} catch (const std::bad_alloc&) {
  return std::unexpected(no_memory());
}

/// The parts of the next step: pieces of prompts first, since they are the most work, then a token
/// of every answer. @return whether there are any
bool Scheduler::gather() {
  const std::size_t chunk = engine_->prefill_chunk(), vocabulary = engine_->vocabulary().size;
  std::size_t writing = 0;
  for (const auto& each : running_) writing += each->result && !each->answer->reading() ? 1 : 0;
  std::size_t room = chunk > writing ? chunk - writing : 1;
  parts_.clear();
  stepping_.clear();
  reading_ = false;
  std::size_t rows = 0;
  for (const bool reading : {true, false}) {
    for (const auto& each : running_) {
      if (!each->result || each->answer->reading() != reading || (reading && room == 0)) continue;
      const auto part = each->answer->next(reading ? room : 1);
      if (!part) continue;  // it ends here
      if (reading) room -= part->tokens.size();
      reading_ |= reading;
      if (part->mode == model::LogitsMode::last) ++rows;
      parts_.push_back(*part);
      stepping_.push_back(each.get());
    }
  }
  if (logits_.size() < rows * vocabulary) logits_.resize(rows * vocabulary);
  for (std::size_t row = 0; model::Part & part : parts_)
    if (part.mode == model::LogitsMode::last)
      part.logits = std::span(logits_).subspan(row++ * vocabulary, vocabulary);
  return !parts_.empty();
}

/// Chooses tokens, on all threads, and then hands them out, on this one.
void Scheduler::read_all() {
  engine_->parallel(parts_.size(), [&](std::size_t i) {
    Running& each = *stepping_[i];
    try {
      each.result = each.answer->read(parts_[i]);
    } catch (const std::bad_alloc&) {
      each.result = std::unexpected(no_memory());
    }
  });
  for (Running* each : stepping_)
    if (each->result) each->answer->show();
}

/// Prompts that nobody needs any more count as read.
void Scheduler::report() const {
  std::size_t unread = 0;
  for (const Job& job : waiting_) unread += job.prompt.size();
  for (const auto& each : running_)
    if (each->result) unread += each->answer->prompt_total() - each->answer->prompt_read();
  engine_->report("reading the prompts", prompt_total_ - unread, prompt_total_);
}

void Scheduler::retire() {
  const auto left = std::ranges::stable_partition(
      running_, [](const auto& each) { return each->result && !each->answer->ended(); });
  std::vector<std::unique_ptr<Running>> done(std::make_move_iterator(left.begin()),
                                             std::make_move_iterator(left.end()));
  running_.erase(left.begin(), left.end());
  for (const auto& each : done) each->finish();
}

void Scheduler::fail_all(const Error& error) {
  for (const auto& each : running_)
    if (each->result) each->result = std::unexpected(error);
  retire();
}

}  // namespace tern::engine
