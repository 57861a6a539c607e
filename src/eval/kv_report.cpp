#include "eval/kv_report.h"

#include <algorithm>

#include "eval/perplexity.h"

namespace tern::eval {
namespace {

/// Tokens that a sequence of `task` must hold.
std::size_t capacity(const KvTask& task) {
  std::size_t most = 1;
  for (const Window& window : task.windows) most = std::max(most, window.tokens.size());
  if (!task.needles.lengths.empty()) most = std::max(most, needle_capacity(task.needles));
  for (const Question& question : task.questions)
    most = std::max(most, question.prompt.size() + question.max_tokens);
  return most;
}

/// Positions of the queries whose logits are scored.
std::vector<std::size_t> scored_positions(std::span<const Window> windows) {
  std::vector<std::size_t> positions;
  for (const Window& window : windows)
    for (const Range& range : window.scored)
      for (std::size_t i = range.begin; i < range.end; ++i) positions.push_back(i - 1);
  return positions;
}

/// Codes every vector that `from` holds and decodes it again.
double coding_error(const state::Sequence& from, const state::Sequence& to, bool keys) {
  double sum = 0;
  std::size_t vectors = 0;
  const state::SequenceShape& shape = from.shape();
  std::vector<float> x(shape.head_dim), y(shape.head_dim);
  std::vector<std::uint8_t> codes(shape.head_dim);
  for (std::size_t layer = 0; layer < shape.attention_layers; ++layer) {
    for (std::size_t head = 0; head < shape.kv_heads; ++head) {
      const auto source = from.kv(layer, head).main, target = to.kv(layer, head).main;
      const auto& pages = keys ? source.keys : source.values;
      const quant::KvCodec& codec = (keys ? target.keys : target.values).layout->codec();
      if (codec.plain()) return 0;
      std::vector<std::uint16_t> scales(codec.scales()),
          biases(codec.has_bias() ? codec.scales() : 0);
      for (std::size_t t = 0; t < from.position(); ++t) {
        pages.layout->read(pages.pages[t / kernels::kKvPageTokens] + pages.offset,
                           t % kernels::kKvPageTokens, x);
        codec.encode(x, codes, scales, biases);
        codec.decode(codes, scales, biases, y);
        double square = 0, apart = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          square += double{x[i]} * double{x[i]};
          apart += (double{y[i]} - double{x[i]}) * (double{y[i]} - double{x[i]});
        }
        if (square == 0) continue;
        sum += apart / square;
        ++vectors;
      }
    }
  }
  return vectors == 0 ? 0 : sum / static_cast<double>(vectors);
}

}  // namespace

double code_share(const state::KvConfig& config, std::span<const std::size_t> positions) {
  double read = 0, codes = 0;
  for (const std::size_t position : positions) {
    read += static_cast<double>(position + 1);
    const std::size_t kept = config.sinks + config.recent;
    if (position >= config.quantized_start && position + 1 > kept)
      codes += static_cast<double>(position + 1 - kept);
  }
  return read == 0 ? 0 : codes / read;
}

Result<KvReport> compare_caches(engine::Engine& engine, const KvTask& task, ThreadPool& pool,
                                const Watch& watch) {
  const std::size_t room = capacity(task);
  TERN_TRY_VOID(check_context(engine, room));
  const model::Model& model = engine.model();
  TERN_TRY(auto reference, model.new_sequence(state::KvConfig{}, room));
  std::vector<state::Sequence> owned;
  std::vector<state::Sequence*> sequences;
  KvReport report;
  report.windows = task.windows.size();
  for (const CacheType& type : task.types) {
    TERN_TRY(auto sequence, model.new_sequence(type.config, room));
    owned.push_back(std::move(sequence));
    KvRow row{.label = type.label, .config = type.config};
    row.bytes_per_token = model.sequence_shape().kv_bytes_per_token(type.config);
    report.rows.push_back(std::move(row));
  }
  for (state::Sequence& sequence : owned) sequences.push_back(&sequence);

  const auto positions = scored_positions(task.windows);
  std::vector<std::size_t> ends;
  for (const Question& question : task.questions) ends.push_back(question.prompt.size());
  for (KvRow& row : report.rows) {
    constexpr auto kLastPlain = quant::KvScheme::bf16;
    if (row.config.keys <= kLastPlain && row.config.values <= kLastPlain) continue;
    row.text_share = code_share(row.config, positions);
    row.needle_share = code_share(row.config, task.needles.lengths);
    row.question_share = code_share(row.config, ends);
  }

  if (!task.windows.empty()) {
    TERN_TRY(const auto comparisons,
             compare_sequences(engine, reference, sequences, task.windows, pool, watch));
    for (std::size_t i = 0; i < report.rows.size(); ++i) {
      report.rows[i].divergence = summarize(comparisons[i]);
      report.rows[i].key_error = coding_error(reference, owned[i], /*keys=*/true);
      report.rows[i].value_error = coding_error(reference, owned[i], /*keys=*/false);
    }
  }
  if (!task.needles.lengths.empty()) {
    TERN_TRY(const auto grids, find_needles(engine, sequences, task.needles, watch));
    for (std::size_t i = 0; i < report.rows.size(); ++i) report.rows[i].needles = total(grids[i]);
  }
  if (!task.questions.empty()) {
    TERN_TRY(const auto accuracy,
             ask(engine, sequences, task.questions, "answering questions", watch));
    for (std::size_t i = 0; i < report.rows.size(); ++i) report.rows[i].questions = accuracy[i];
  }
  return report;
}

}  // namespace tern::eval
