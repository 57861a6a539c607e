// Cache types side by side: what each costs in bytes and loses in quality, on one model.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "eval/answering.h"
#include "eval/needle.h"
#include "eval/scores.h"
#include "state/kv_config.h"

namespace tern::eval {

struct CacheType {
  std::string label;
  state::KvConfig config;
};

struct KvTask {
  std::vector<CacheType> types;
  // Each of these may be empty.
  std::vector<Window> windows;              ///< text for perplexity and divergence
  NeedleOptions needles = {.lengths = {}};  ///< no lengths: none
  std::vector<Question> questions;
};

/// The part of the positions that are read by attention which are codes, when a query at position p
/// reads 0 ... p (see KvConfig).
double code_share(const state::KvConfig& config, std::span<const std::size_t> positions);

struct KvRow {
  std::string label;
  state::KvConfig config;
  std::uint64_t bytes_per_token = 0;            ///< of a long context, as the cache itself counts
  double text_share = 0;                        ///< code_share over the scored tokens
  double needle_share = 0, question_share = 0;  ///< at the ends of the prompts
  Divergence divergence = {};                   ///< from the reference
  Accuracy needles = {}, questions = {};
  /// Mean of |x - x'|^2 / |x|^2 over the keys and values of the last window that was read; 0 for a
  /// side without codes.
  double key_error = 0, value_error = 0;
};

struct KvReport {
  std::string reference = "f16";
  std::size_t windows = 0;
  std::vector<KvRow> rows;  ///< in the order of KvTask::types
};

/// Reads everything once with an f16 cache and once with each type, side by side. Results do not
/// depend on threads.
/// @error unsupported  a cache type that the model's head_dim does not fit; else as the parts
Result<KvReport> compare_caches(engine::Engine& engine, const KvTask& task, ThreadPool& pool,
                                const Watch& watch);

}  // namespace tern::eval
