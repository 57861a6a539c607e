// tern logits: write the logits of given token ids to a NumPy file.
//
// Works on the model itself, below chat and tokenizer: a checkpoint without either will do.
#include <fmt/format.h>

#include <algorithm>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/interrupts.h"
#include "cli/model_files.h"
#include "cli/model_options.h"
#include "cli/npy.h"
#include "cli/token_ids.h"
#include "engine/engine.h"
#include "model/forward.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "FILE becomes a little-endian float32 array [tokens, vocabulary] (with --last [1, "
    "vocabulary]),\n"
    "row i holding the logits after token i. It is replaced only when all of it is there.\n\n"
    "Examples:\n"
    "  echo '[1, 2, 3]' | tern logits -m demo --tokens - -o logits.npy\n"
    "  tern logits -m model.gguf --tokens ids.json -o last.npy --last --kv f16\n";

constexpr std::uint64_t kMaxLogitBytes = 256u << 20;  // of one chunk, in memory

class Logits : public Command {
 public:
  void declare(Options& options) override {
    model_.kv_default = "f32";
    options.group("Model");
    declare_model(options, model_);
    declare_compute(options, model_);
    options.integer("--chunk", chunk_, {1, 1u << 16},
                    "tokens that are processed together; default: 128");
    options.group("Input and output");
    options.text("--tokens", "FILE", tokens_, "JSON array of token ids; \"-\" reads standard input",
                 ValueKind::file);
    options.text("-o,--output", "FILE", output_, "the .npy file to write", ValueKind::file);
    options.flag("--last", last_, "only the logits after the last token");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!tokens_) return fail(ErrorCode::usage, "no token ids", "--tokens", "give a JSON file");
    if (!output_) return fail(ErrorCode::usage, "no output file", "--output", "give a .npy file");
    TERN_TRY_VOID(check_output(*output_));
    TERN_TRY_VOID(choose_isa(model_));
    TERN_TRY(const auto name, model_name(model_));
    TERN_TRY(const auto text, read_input(*tokens_));
    TERN_TRY(const auto checkpoint, engine::open_checkpoint(name, find_options(model_, context)));
    TERN_TRY(auto model, model::Model::load(checkpoint));
    TERN_TRY(const auto tokens,
             parse_token_ids(text, input_name(*tokens_), model.config().vocab_size));
    if (tokens.empty())
      return fail(ErrorCode::usage, "the array of token ids is empty", input_name(*tokens_));
    TERN_TRY(const auto kv, kv_choice(model_, name));
    TERN_TRY_VOID(write(model, kv.config, tokens, context));
    return 0;
  }

 private:
  Result<void> write(model::Model& model, const state::KvConfig& kv,
                     std::span<const std::uint32_t> tokens, Context& context) const {
    const std::size_t vocabulary = model.config().vocab_size;
    TERN_TRY(auto sequence, model.new_sequence(kv, tokens.size()));
    TERN_TRY(auto file, NpyWriter::create(*output_, last_ ? 1 : tokens.size(), vocabulary));
    const auto pool = [&] {
      const StartThreadsWithoutSignals quiet;
      return std::make_unique<ThreadPool>(model_.threads.value_or(0));
    }();
    const std::size_t chunk =
        last_ ? chunk_
              : std::min<std::size_t>(
                    chunk_, std::max<std::size_t>(1, kMaxLogitBytes / sizeof(float) / vocabulary));
    std::vector<float> logits;
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
      if (cancel.requested()) return fail(ErrorCode::cancelled, "interrupted");
      context.progress.update("computing logits", at, tokens.size());
      const auto part = tokens.subspan(at, std::min(chunk, tokens.size() - at));
      const bool end = at + part.size() == tokens.size();
      const auto mode = !last_ ? model::LogitsMode::all
                        : end  ? model::LogitsMode::last
                               : model::LogitsMode::none;
      const std::size_t rows = !last_ ? part.size() : end ? 1 : 0;
      logits.resize(rows * vocabulary);
      TERN_TRY_VOID(model.forward(part, sequence, mode, logits, *pool));
      TERN_TRY_VOID(file.write(logits));
    }
    context.progress.clear();
    return file.commit();
  }

  ModelOptions model_;
  std::optional<std::string> tokens_, output_;
  std::uint64_t chunk_ = 128;
  bool last_ = false;
};

}  // namespace

std::unique_ptr<Command> make_logits() {
  return std::make_unique<Logits>();
}

}  // namespace tern::cli
