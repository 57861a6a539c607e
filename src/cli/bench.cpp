// tern bench: measure prompt and generation speed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/cpu.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "cli/table.h"
#include "model/forward.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "ppN reads a prompt of N tokens, tgN generates N tokens; @ dN: with N tokens before them;\n"
    "x B: in B sequences together, t/s of all of them. Tokens are random, the first run is not\n"
    "counted. t/s is the median of the others, with the slowest and the fastest beside it.\n\n"
    "Examples:\n"
    "  tern bench demo\n"
    "  tern bench -m model.gguf -p 512,2048 -n 128 -d 0,4096 -t 8,16 -r 5 -o md\n"
    "  tern bench -m model.gguf -p 0 -n 64 -b 1,2,4,8,16 --kv f16,turbo4\n";

enum class Format : std::uint8_t { md, json, jsonl, csv };

struct Test {
  std::uint64_t prompt = 0;    ///< tokens to read, or
  std::uint64_t generate = 0;  ///< tokens to generate
  std::uint64_t depth = 0;     ///< tokens before them
  std::uint64_t batch = 1;     ///< sequences that generate together

  std::string name() const {
    auto text = prompt > 0 ? fmt::format("pp{}", prompt) : fmt::format("tg{}", generate);
    if (batch > 1) text += fmt::format(" x {}", batch);
    return depth == 0 ? text : text + fmt::format(" @ d{}", depth);
  }
};

/// Tokens per second of the counted runs, at least one.
struct Speed {
  std::vector<double> runs;

  double median() const {
    auto sorted = runs;
    std::ranges::sort(sorted);
    const std::size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  double least() const { return std::ranges::min(runs); }
  double most() const { return std::ranges::max(runs); }
  double mean() const {
    double sum = 0;
    for (const double run : runs) sum += run;
    return sum / static_cast<double>(runs.size());
  }
  /// Of the sample; 0 for a single run.
  double deviation() const {
    if (runs.size() < 2) return 0;
    double sum = 0;
    for (const double run : runs) sum += (run - mean()) * (run - mean());
    return std::sqrt(sum / static_cast<double>(runs.size() - 1));
  }
};

struct Row {
  ModelInfo model;
  std::size_t threads;
  std::string kv;
  Test test;
  Speed speed;
};

/// Ids that a text could have: the special ones lie at the start of the vocabulary. The same in
/// every run, others for every `sequence`.
std::vector<TokenId> random_tokens(std::size_t count, std::size_t vocabulary,
                                   std::uint64_t sequence = 0) {
  std::vector<TokenId> tokens(count);
  const std::size_t first = vocabulary > 2000 ? 1000 : vocabulary / 2;
  std::uint64_t state = 0x9e3779b97f4a7c15u * (2 * sequence + 1);  // xorshift64
  for (auto& token : tokens) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    token = static_cast<TokenId>(first + state % (vocabulary - first));
  }
  return tokens;
}

/// "model (Q4_K)"-like short name: the last part of the path.
std::string short_name(const std::string& path) {
  auto end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const auto begin = path.rfind('/', end);
  return path.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? std::size_t(-1) : begin));
}

std::string kv_name(const ModelInfo& info) {
  return info.kv_keys == info.kv_values ? info.kv_keys : info.kv_keys + ":" + info.kv_values;
}

class Bench : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    options.integers("-t,--threads", threads_, {1, 1024},
                     "thread counts to measure; default: the CPUs that the process may use");
    declare_kv(options, model_, &kv_types_);
    options.integer("--prefill-chunk", model_.prefill_chunk, {1, 1u << 16},
                    "prompt tokens that are read together; default: 512");
    options.text("--isa", "NAME", model_.isa,
                 "instruction set: scalar, neon, avx2, avx512 or amx; default: $TERN_ISA, or the "
                 "best that this CPU has");
    options.group("Tests");
    options.integers("-p,--n-prompt", prompts_, {0, 1u << 20},
                     "prompt lengths, 0 for none; default: 512");
    options.integers("-n,--n-gen", generates_, {0, 1u << 20},
                     "tokens to generate, 0 for none; default: 128");
    options.integers("-d,--n-depth", depths_, {0, 1u << 20},
                     "tokens that are there before; default: 0");
    options.integers("-b,--batch", batches_, {1, 256},
                     "sequences that generate together; default: 1");
    options.integer("-r,--repetitions", repetitions_, {1, 1000}, "counted runs; default: 5");
    options.group("Output");
    options.choice("-o,--output", format_,
                   {{"md", Format::md},
                    {"json", Format::json},
                    {"jsonl", Format::jsonl},
                    {"csv", Format::csv}},
                   "default: md, a Markdown table");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    const auto tests = list_tests();
    if (tests.empty())
      return fail(ErrorCode::usage, "nothing to measure", "-p, -n", "both hold nothing but 0");
    if (threads_.empty()) threads_.push_back(ThreadPool::default_threads());
    std::size_t longest = 0;
    for (const auto& test : tests)
      longest = std::max<std::size_t>(longest, test.prompt + test.generate + test.depth);
    model_.context = longest + 16;
    std::vector<std::optional<std::string>> kv_types(kv_types_.begin(), kv_types_.end());
    if (kv_types.empty()) kv_types.push_back(model_.kv);
    std::vector<Row> rows;
    for (const auto threads : threads_) {
      for (const auto& kv : kv_types) {
        model_.threads = threads;
        model_.kv = kv;
        TERN_TRY_VOID(run_tests(tests, rows, context));
      }
    }
    if (format_ != Format::jsonl) context.out.write(render(rows));
    return 0;
  }

 private:
  Result<void> run_tests(const std::vector<Test>& tests, std::vector<Row>& rows,
                         Context& context) const {
    TERN_TRY(const auto model, load_model(model_, context));
    for (const auto& test : tests) {
      TERN_TRY(auto speed, measure(model, test, context));
      rows.push_back({model.info(), *model_.threads, kv_name(model.info()), test, speed});
      if (format_ != Format::jsonl) continue;
      context.out.write(json::serialize(to_json(rows.back())) + "\n");
      context.out.flush();
    }
    return {};
  }

  std::vector<Test> list_tests() const {
    std::vector<Test> tests;
    for (const auto depth : depths_) {
      for (const auto prompt : prompts_)
        if (prompt > 0) tests.push_back({prompt, 0, depth});
      for (const auto generate : generates_)
        for (const auto batch : batches_)
          if (generate > 0) tests.push_back({0, generate, depth, batch});
    }
    return tests;
  }

  Result<Speed> measure(const Model& model, const Test& test, Context& context) const {
    Speed speed;
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    for (std::uint64_t run = 0; run <= repetitions_; ++run) {
      context.progress.update(test.name(), run, repetitions_ + 1);
      TERN_TRY(const double tokens_per_second,
               test.prompt > 0 ? read(model, test, cancel) : generate(model, test, cancel));
      if (cancel.requested()) return fail(ErrorCode::cancelled, "interrupted");
      if (run > 0) speed.runs.push_back(tokens_per_second);  // the first one warms up
    }
    context.progress.clear();
    return speed;
  }

  static GenerateOptions greedy(std::size_t tokens) {
    GenerateOptions options;
    options.sampling.temperature = 0;
    options.ignore_eos = true;
    options.max_tokens = tokens;
    return options;
  }

  /// Tokens per second of a prompt.
  static Result<double> read(const Model& model, const Test& test, const Cancel& cancel) {
    auto session = model.new_session();
    const auto tokens = random_tokens(test.depth + test.prompt, model.info().vocabulary);
    if (test.depth > 0)
      TERN_TRY_VOID(session.generate(std::span(tokens).first(test.depth), greedy(0), {}, &cancel));
    TERN_TRY(const auto generation, session.generate(tokens, greedy(0), {}, &cancel));
    return rate(generation.prompt_tokens - generation.reused_tokens, generation.prefill_time);
  }

  /// Tokens per second of all sequences together.
  static Result<double> generate(const Model& model, const Test& test, const Cancel& cancel) {
    std::vector<Session> sessions;
    std::vector<BatchRequest> requests;
    for (std::uint64_t i = 0; i < test.batch; ++i) sessions.push_back(model.new_session());
    for (std::uint64_t i = 0; i < test.batch; ++i)
      requests.push_back({.prompt = random_tokens(test.depth, model.info().vocabulary, i),
                          .options = greedy(0),
                          .cancel = &cancel,
                          .session = &sessions[i]});
    const BatchOptions together{.sequences = test.batch,
                                .memory = std::numeric_limits<std::uint64_t>::max()};
    if (test.depth > 0) TERN_TRY_VOID(slowest(model.generate_batch(requests, together)));
    for (std::uint64_t i = 0; i < test.batch; ++i) {
      // One more than the depth to begin with, and one more out: the last one is not read.
      requests[i].prompt = random_tokens(test.depth + 1, model.info().vocabulary, i);
      requests[i].options = greedy(test.generate + 1);
    }
    TERN_TRY(const auto time, slowest(model.generate_batch(requests, together)));
    return rate(test.batch * test.generate, time);
  }

  static Result<std::chrono::duration<double>> slowest(
      const std::vector<Result<Generation>>& generations) {
    std::chrono::duration<double> most{0};
    for (const auto& generation : generations) {
      if (!generation) return std::unexpected(generation.error());
      most = std::max(most, generation->decode_time);
    }
    return most;
  }

  std::string render(const std::vector<Row>& rows) const {
    if (format_ == Format::json) {
      json::array array;
      for (const auto& row : rows) array.push_back(to_json(row));
      return json::serialize(array) + "\n";
    }
    if (format_ == Format::csv) return csv(rows);
    using enum Table::Align;
    Table table({{"model", left},
                 {"size", right},
                 {"params", right},
                 {"backend", left},
                 {"threads", right},
                 {"kv", left},
                 {"test", right},
                 {"t/s", right},
                 {"slowest .. fastest", right}});
    for (const auto& row : rows)
      table.add({short_name(row.model.name), human_bytes(row.model.weight_bytes),
                 human_count(row.model.parameters), backend(), std::to_string(row.threads), row.kv,
                 row.test.name(), fmt::format("{:.2f}", row.speed.median()),
                 fmt::format("{:.2f} .. {:.2f}", row.speed.least(), row.speed.most())});
    return table.markdown() + fmt::format("\nversion: tern {}\n", TERN_VERSION);
  }

  static std::string backend() { return fmt::format("CPU {}", name(model::products_isa())); }

  static std::string csv(const std::vector<Row>& rows) {
    std::string text = csv_line({"model", "size", "params", "backend", "threads", "kv", "n_prompt",
                                 "n_gen", "n_depth", "n_sequences", "avg_ts", "stddev_ts",
                                 "median_ts", "min_ts", "max_ts"});
    for (const auto& row : rows)
      text += csv_line(
          {row.model.name, std::to_string(row.model.weight_bytes),
           std::to_string(row.model.parameters), backend(), std::to_string(row.threads), row.kv,
           std::to_string(row.test.prompt), std::to_string(row.test.generate),
           std::to_string(row.test.depth), std::to_string(row.test.batch),
           fmt::format("{:.6f}", row.speed.mean()), fmt::format("{:.6f}", row.speed.deviation()),
           fmt::format("{:.6f}", row.speed.median()), fmt::format("{:.6f}", row.speed.least()),
           fmt::format("{:.6f}", row.speed.most())});
    return text;
  }

  static json::object to_json(const Row& row) {
    json::array samples(row.speed.runs.begin(), row.speed.runs.end());
    return {{"model", row.model.name},         {"size", row.model.weight_bytes},
            {"params", row.model.parameters},  {"backend", backend()},
            {"threads", row.threads},          {"kv", row.kv},
            {"n_prompt", row.test.prompt},     {"n_gen", row.test.generate},
            {"n_depth", row.test.depth},       {"n_sequences", row.test.batch},
            {"avg_ts", row.speed.mean()},      {"stddev_ts", row.speed.deviation()},
            {"median_ts", row.speed.median()}, {"min_ts", row.speed.least()},
            {"max_ts", row.speed.most()},      {"samples_ts", samples},
            {"version", TERN_VERSION}};
  }

  ModelOptions model_;
  std::vector<std::uint64_t> prompts_ = {512}, generates_ = {128}, depths_ = {0}, batches_ = {1},
                             threads_;
  std::vector<std::string> kv_types_;
  std::uint64_t repetitions_ = 5;
  Format format_ = Format::md;
};

}  // namespace

std::unique_ptr<Command> make_bench() {
  return std::make_unique<Bench>();
}

}  // namespace tern::cli
