// What the commands of `tern eval` share: the model, the text, the way results are printed.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "engine/engine.h"
#include "eval/reading.h"
#include "eval/scores.h"
#include "eval/windows.h"

namespace tern::cli {

/// A text, and how it becomes windows.
struct TextOptions {
  std::optional<std::string> file;  ///< none: conversations that the program makes up
  std::uint64_t context = 512;
  std::uint64_t stride = 0;
  std::uint64_t windows = 0;  ///< 0: all; 16 made-up conversations
  std::uint64_t seed = 1;
  bool special = false;  ///< the file's <|im_start|> and its like are control tokens
};
void declare_text(Options& options, TextOptions& target);
/// The same without --stride, for commands that score nothing.
void declare_whole_text(Options& options, TextOptions& target);

/// The text of the file (or standard input), or "". Read before the model is loaded.
Result<std::string> read_text(const TextOptions& options);

/// `text` cut as asked for, or conversations when no file was named.
Result<std::vector<eval::Window>> make_windows(const engine::Engine& engine,
                                               const TextOptions& options, const std::string& text);

/// What the windows were made of, for reports: the file's name, or "made-up conversations, seed 1".
std::string text_label(const TextOptions& options);

/// Loads a model for measurements with sequences of `context` tokens. @error as load_model
Result<std::unique_ptr<engine::Engine>> load_engine(const ModelOptions& options,
                                                    std::size_t context, Context& context_);

/// Threads, progress and Ctrl-C of one measurement.
class Measurement {
 public:
  Measurement(const ModelOptions& options, Context& context);
  ~Measurement() { context_->progress.clear(); }
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  ThreadPool& pool() { return *pool_; }
  const eval::Watch& watch() const { return watch_; }

 private:
  Context* context_;
  Cancel cancel_;
  CancelOnInterrupt on_interrupt_{cancel_};
  std::unique_ptr<ThreadPool> pool_;
  eval::Watch watch_;
};

/// "12.345 +- 0.067" with the sign of plus-minus.
std::string with_error(const eval::Estimate& estimate, int decimals, double factor = 1);
/// {"value": ..., "error": ...}
json::object to_json(const eval::Estimate& estimate);
json::object to_json(const eval::Divergence& divergence);

/// The engine's cache in words, with its windows: "turbo4, 4 sinks, 128 recent".
std::string kv_text(const state::KvConfig& config);
json::object kv_json(const state::KvConfig& config);

/// Writes a file at once, replacing what was there. @error io, usage (no regular file)
Result<void> write_file(const std::string& path, std::string_view text);

/// `value` as one line of JSON with a newline.
std::string json_line(const json::value& value);

}  // namespace tern::cli
