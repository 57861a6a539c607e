// Several answers at once: every step of the model reads its weights for all of them.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "engine/answer.h"
#include "engine/context.h"
#include "engine/engine.h"

namespace tern::engine {

/// One request.
struct Job {
  std::vector<TokenId> prompt;
  GenerateOptions options = {};
  OnPiece on_piece = {};
  const Cancel* cancel = nullptr;
  Context* context = nullptr;  ///< of a session that goes on; of no other job. Null: its own
  std::function<void(Result<Generation>)> on_done = {};
};

/// Batches continuously: an answer that is complete leaves, and the request that has waited longest
/// takes its place. Each step takes one token of every answer that is being written, and the rest
/// of LoadOptions::prefill_chunk from the prompts. What a job answers does not depend on the
/// others. LoadOptions::progress is told of the tokens of all prompts together.
///
/// Belongs to one thread, which is the one that calls the jobs back; the engine must outlive it.
/// Sessions and other schedulers on the same engine take turns with it, step by step.
class Scheduler {
 public:
  Scheduler(Engine& engine, const BatchOptions& options);

  /// Errors of the request go to its on_done, when its turn comes.
  void submit(Job job);

  /// Lets in who waits, as far as memory for the whole of their answers reaches, and takes one
  /// step. @return whether there was anything to do
  bool step();

  std::size_t running() const { return running_.size(); }
  std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Running {
    Job job;
    std::uint64_t bytes = 0;         // that it may come to hold
    std::optional<Context> context;  // unless the job has one
    std::optional<Answer> answer;
    Result<void> result = {};

    void finish();
  };

  void drop_cancelled();
  void admit();
  Result<bool> begin(Running& next);
  bool gather();
  void read_all();
  void report() const;
  void retire();
  void fail_all(const Error& error);

  Engine* engine_;
  std::size_t most_;
  std::uint64_t memory_;
  std::size_t prompt_total_ = 0;  // tokens, since there was last nothing to do
  bool reading_ = false;          // the present step takes some of them
  std::deque<Job> waiting_;
  std::vector<std::unique_ptr<Running>> running_;  // in order of arrival
  std::vector<model::Part> parts_;
  std::vector<Running*> stepping_;  // whose the parts are
  std::vector<float> logits_;       // [parts that want some, vocabulary]
};

}  // namespace tern::engine
