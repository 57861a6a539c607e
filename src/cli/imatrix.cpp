// tern imatrix: which weights matter, measured on a text.
#include <fmt/format.h>

#include <chrono>

#include "cli/command.h"
#include "cli/eval_common.h"
#include "cli/files.h"
#include "cli/interrupts.h"
#include "convert/imatrix_collector.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "The model reads the text; for each matrix, and each expert of its own, the squares of its\n"
    "inputs are added up by columns. `tern convert --imatrix` then loses less where inputs are\n"
    "large, in GGUF and in MLX's formats. The file is llama.cpp's: its quantizer takes it, too,\n"
    "and `tern convert` takes those of llama-imatrix. Some 100,000 tokens of the kind of text "
    "that\n"
    "the model is for are enough; experts that no token chose count as the mean of the others.\n\n"
    "Examples:\n"
    "  tern imatrix -m model-bf16 -f text.txt -o imatrix.gguf\n"
    "  tern imatrix -m model-bf16 -f chats.txt --special --ctx 2048 -o imatrix.gguf --json\n"
    "  tern convert model-bf16 model.gguf --to gguf-q4_k_m --imatrix imatrix.gguf\n";

class Imatrix : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_compute(options, model_);
    options.group("Text");
    declare_whole_text(options, text_);
    options.group("Output");
    options.text("-o,--out", "FILE", out_, "the importance matrix to write; replaced if it exists",
                 ValueKind::file);
    options.flag("--process-output", head_, "measure the inputs of the output matrix, too");
    options.flag("--json", json_, "print one JSON object");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!out_) return fail(ErrorCode::usage, "nothing to write", "--out", "name a file with -o");
    TERN_TRY_VOID(check_output(*out_));
    text_.stride = text_.context;  // windows side by side, the last one as long as what is left
    TERN_TRY(const auto text, read_text(text_));
    TERN_TRY(const auto engine, load_engine(model_, text_.context, context));
    TERN_TRY(const auto windows, make_windows(*engine, text_, text));
    TERN_TRY(const auto source, convert::Source::open(engine->checkpoint()));
    convert::ImatrixCollector collector(source, head_);
    const auto start = std::chrono::steady_clock::now();
    TERN_TRY_VOID(read(*engine, windows, collector, context));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    TERN_TRY_VOID(
        collector.write(*out_, {.name = text_label(text_),
                                .chunks = static_cast<std::uint32_t>(windows.size()),
                                .chunk_tokens = static_cast<std::uint32_t>(text_.context)}));
    std::size_t tokens = 0;
    for (const eval::Window& window : windows) tokens += window.tokens.size();
    print(context, *engine, collector.summary(), windows.size(), tokens, time.count());
    return 0;
  }

 private:
  Result<void> read(engine::Engine& engine, std::span<const eval::Window> windows,
                    convert::ImatrixCollector& collector, Context& context) {
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    const eval::Watch watch{
        .progress = [&](std::string_view what, std::size_t done,
                        std::size_t total) { context.progress.update(what, done, total); },
        .cancel = &cancel};
    engine.observe(&collector);
    auto result = eval::read_through(engine, windows, head_, "squaring inputs", watch);
    engine.observe(nullptr);
    context.progress.clear();
    return result;
  }

  void print(Context& context, const engine::Engine& engine,
             const convert::ImatrixCollector::Summary& summary, std::size_t chunks,
             std::size_t tokens, double seconds) const {
    if (json_) {
      context.out.write(json_line(json::object{{"model", engine.checkpoint().display_name()},
                                               {"text", text_label(text_)},
                                               {"saved", *out_},
                                               {"chunks", chunks},
                                               {"chunk_size", text_.context},
                                               {"tokens", tokens},
                                               {"tensors", summary.tensors},
                                               {"matrices", summary.matrices},
                                               {"unseen", summary.unseen},
                                               {"seconds", seconds}}));
      return;
    }
    context.out.write(
        fmt::format("{}: squared inputs of {} matrices in {} tensors, from {} tokens of {}\n",
                    *out_, summary.matrices, summary.tensors, tokens, text_label(text_)));
    if (summary.unseen > 0)
      context.err.write(
          fmt::format("tern: warning: {} matrices saw no input; a longer or more "
                      "varied text reaches more experts\n",
                      summary.unseen));
  }

  ModelOptions model_;
  TextOptions text_;
  std::optional<std::string> out_;
  bool head_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_imatrix() {
  return std::make_unique<Imatrix>();
}

}  // namespace tern::cli
