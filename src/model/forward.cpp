// The skeleton of the model:
//
//   h = embeddings[token]
//   for each layer:  h = h + mixer(RMSNorm(h))
//   logits = lm_head RMSNorm(h)
#include "model/forward.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <new>

#include "base/checked.h"
#include "kernels/fixed.h"
#include "kernels/ops.h"
#include "kernels/ssd.h"
#include "model/mixers.h"
#include "quant/turbo_weights.h"

namespace tern::model {

/// Tokens that go through the layers together, and the activations that they may take (1 GiB);
/// longer inputs are cut, which changes no result.
constexpr std::size_t kChunkTokens = 512;
constexpr std::size_t kScratchFloats = std::size_t{1} << 28;

/// What of a part goes through the layers in one step.
struct Piece {
  Part* part;
  std::size_t begin, tokens;  // of the part

  std::span<const TokenId> ids() const { return part->tokens.subspan(begin, tokens); }
  /// [vocab_size] of the last of its tokens, as many as are wanted.
  std::span<float> logits() const {
    if (part->mode == LogitsMode::none || !part->result) return {};
    if (part->mode == LogitsMode::last)
      return begin + tokens == part->tokens.size() ? part->logits : std::span<float>();
    const std::size_t row = part->logits.size() / part->tokens.size();
    return part->logits.subspan(begin * row, tokens * row);
  }
};

struct Model::State {
  Config config;
  Weights weights;
  state::SequenceShape shape;
  Fold fold;
  Scratch scratch;
  InputObserver* observer = nullptr;

  std::size_t scratch_floats(std::size_t tokens, std::size_t threads) const;
  std::size_t chunk_tokens(std::size_t threads) const;
  Result<void> admit(const Part& part, std::size_t step, ThreadPool& pool) const;
  void embed(std::span<const TokenId> tokens, std::span<float> h) const;
  Input input(std::span<const float> x, std::span<float> rotated, Step& step) const;
  void mix(std::size_t layer, std::size_t nth, const Input& x, std::span<float> y,
           Step& step) const;
  void rms_norm(const Buffer<float>& weight, std::span<const float> x, std::span<float> y,
                Step& step) const;
  void run(std::span<const Piece> pieces, Step& step) const;
  void lm_head(std::span<const Piece> pieces, std::span<const float> h, std::span<float> x,
               Step& step) const;
};

namespace {

state::SequenceShape sequence_shape_of(const Config& c) {
  return {.attention_layers = c.count(LayerKind::attention),
          .kv_heads = c.attention.num_kv_heads,
          .head_dim = c.attention.head_dim,
          .mamba_layers = c.count(LayerKind::mamba),
          .conv_columns = c.mamba.conv_kernel > 0 ? c.mamba.conv_kernel - 1 : 0,
          .conv_channels = c.mamba.conv_dim(),
          .ssm_values = c.count(LayerKind::mamba) > 0 ? mamba_state_values(c.mamba) : 0,
          .ssm_groups = std::max<std::size_t>(1, c.mamba.n_groups),
          .ssm_exact = c.count(LayerKind::mamba) > 0
                           ? c.mamba.num_heads / c.mamba.n_groups * kernels::kSsdTokens
                           : 0};
}

Result<void> check_tokens(std::span<const TokenId> tokens, std::size_t vocab) {
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] >= vocab)
      return fail(ErrorCode::mismatch, "token " + std::to_string(i) + " is " +
                                           std::to_string(tokens[i]) + ", the vocabulary has " +
                                           std::to_string(vocab) + " entries");
  return {};
}

void not_finite(const Piece& piece, const std::string& what) {
  if (piece.part->result)
    piece.part->result =
        fail(ErrorCode::numeric, what + " is not finite", "", "a broken model file");
}

/// Pieces whose rows of h are not finite fail. The rows go along as zeros to the end of the step:
/// no other row looks at them.
void drop_broken(std::span<float> h, std::span<const Piece> pieces, const Step& step,
                 const std::string& what) {
  const std::size_t width = h.size() / step.tokens;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Chunk& chunk = step.chunks[i];
    const auto rows = h.subspan(chunk.first * width, chunk.tokens * width);
    if (kernels::ops().finite(rows.data(), rows.size())) continue;
    not_finite(pieces[i], what);
    std::ranges::fill(rows, 0.0f);
  }
}

/// h += y. Pieces with a row that is not finite fail.
void add(std::span<float> h, std::span<const float> y, std::span<const Piece> pieces, Step& step,
         const std::function<std::string()>& what) {
  const std::size_t width = h.size() / step.tokens;
  std::atomic<bool> finite = true;
  for_tokens(step, width, [&](std::size_t t) {
    if (!kernels::ops().add(h.data() + t * width, y.data() + t * width, width)) finite = false;
  });
  if (!finite) drop_broken(h, pieces, step, what());
}

/// Cuts the parts into steps, in order.
class Cutter {
 public:
  explicit Cutter(std::span<Part> parts) : parts_(parts) {}

  /// The next at most `most` tokens of parts that have not failed. @return whether there are any
  bool next(std::size_t most, std::vector<Piece>& pieces, std::vector<Chunk>& chunks) {
    pieces.clear();
    chunks.clear();
    for (std::size_t row = 0; at_ < parts_.size() && row < most;) {
      Part& part = parts_[at_];
      const std::size_t left = part.result ? part.tokens.size() - begin_ : 0;
      const std::size_t n = std::min(left, most - row);
      if (n > 0) {
        pieces.push_back({&part, begin_, n});
        chunks.push_back({row, n, part.sequence->position(), part.sequence});
      }
      row += n;
      begin_ += n;
      if (n < left) break;
      ++at_;
      begin_ = 0;
    }
    return !pieces.empty();
  }

 private:
  std::span<Part> parts_;
  std::size_t at_ = 0, begin_ = 0;  // the part, and its first token, that come next
};

}  // namespace

Isa products_isa() {
  return kernels::products_isa(active_isa());
}

std::size_t Model::State::scratch_floats(std::size_t tokens, std::size_t threads) const {
  const std::size_t hidden = config.hidden_size;
  std::size_t mixer = 0;
  if (config.count(LayerKind::mamba) > 0)
    mixer = std::max(mixer, mamba_scratch(config.mamba, tokens, threads));
  if (config.count(LayerKind::attention) > 0)
    mixer = std::max(mixer, attention_scratch(config.attention, tokens, threads));
  if (config.count(LayerKind::moe) > 0)
    mixer = std::max(mixer, moe_scratch(config.moe, hidden, tokens));
  if (config.count(LayerKind::mlp) > 0)
    mixer = std::max(mixer, mlp_scratch(config.mlp.intermediate, tokens));
  const std::size_t streams = weights.signs == nullptr ? 3 : 4;  // h, x, y, and R x
  return streams * Scratch::padded(tokens * hidden) + mixer;
}

std::size_t Model::State::chunk_tokens(std::size_t threads) const {
  std::size_t tokens = kChunkTokens;
  while (tokens > 1 && scratch_floats(tokens, threads) > kScratchFloats) tokens /= 2;
  return tokens;
}

void Model::State::embed(std::span<const TokenId> tokens, std::span<float> h) const {
  quant::DecodeRow* const decode = quant::row_decoder(weights.embeddings, active_isa());
  for (std::size_t t = 0; t < tokens.size(); ++t)
    decode(weights.embeddings, tokens[t], h.subspan(t * config.hidden_size, config.hidden_size));
  if (weights.embeddings.rotated())
    quant::unrotate_inputs(weights.embeddings.signs, h.data(), h.size());
}

void Model::State::rms_norm(const Buffer<float>& weight, std::span<const float> x,
                            std::span<float> y, Step& step) const {
  const std::size_t hidden = config.hidden_size;
  for_tokens(step, 2 * hidden, [&](std::size_t t) {
    kernels::ops().rms_norm(x.data() + t * hidden, weight.data(), y.data() + t * hidden, hidden,
                            config.norm_eps);
  });
}

/// x as it is and, in a model of rotated matrices, in their basis.
Input Model::State::input(std::span<const float> x, std::span<float> rotated, Step& step) const {
  if (rotated.empty()) return {x, {}};
  const std::size_t hidden = config.hidden_size;
  for_tokens(step, 2 * hidden, [&](std::size_t t) {
    const auto row = rotated.subspan(t * hidden, hidden);
    std::ranges::copy(x.subspan(t * hidden, hidden), row.begin());
    quant::rotate_inputs(weights.signs, row.data(), hidden);
  });
  return {x, rotated};
}

/// y = mixer(x); `nth` counts the layers of the same kind.
void Model::State::mix(std::size_t layer, std::size_t nth, const Input& x, std::span<float> y,
                       Step& step) const {
  const auto& w = weights.layers[layer].mixer;
  switch (config.layers[layer]) {
    case LayerKind::mamba:
      return mamba(config.mamba, config.norm_eps, std::get<MambaWeights>(w), nth, x, y, step);
    case LayerKind::attention:
      return attention(config.attention, std::get<AttentionWeights>(w), nth, x, y, step);
    case LayerKind::moe:
      return moe(config.moe, std::get<MoeWeights>(w), x, y, step);
    case LayerKind::mlp:
      return mlp(std::get<MlpWeights>(w), x, y, step);
  }
}

void Model::State::run(std::span<const Piece> pieces, Step& step) const {
  const std::size_t hidden = config.hidden_size, size = step.tokens * hidden;
  const Scratch::Frame frame(step.scratch);
  const auto h = step.scratch.take(size), x = step.scratch.take(size);
  const auto y = step.scratch.take(size);
  const auto rotated = step.scratch.take(weights.signs == nullptr ? 0 : size);

  for (std::size_t i = 0; i < pieces.size(); ++i)
    embed(pieces[i].ids(), h.subspan(step.chunks[i].first * hidden));
  drop_broken(h, pieces, step, "an embedding");
  std::size_t seen[4] = {};  // layers of each kind
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    rms_norm(weights.layers[i].norm, h, x, step);
    mix(i, seen[static_cast<std::size_t>(config.layers[i])]++, input(x, rotated, step), y, step);
    add(h, y, pieces, step, [&] {
      return "the output of layer " + std::to_string(i) + " (" +
             std::string(name(config.layers[i])) + ")";
    });
  }
  lm_head(pieces, h, x, step);
}

/// logits = lm_head RMSNorm(h) for the rows whose logits somebody wants.
void Model::State::lm_head(std::span<const Piece> pieces, std::span<const float> h,
                           std::span<float> x, Step& step) const {
  const std::size_t hidden = config.hidden_size, vocab = config.vocab_size;
  std::vector<std::size_t> rows;          // of h
  std::vector<std::span<float>> outputs;  // of one product each
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto logits = pieces[i].logits();
    const std::size_t end = step.chunks[i].first + step.chunks[i].tokens;
    for (std::size_t n = logits.size() / vocab; n > 0; --n) rows.push_back(end - n);
    if (logits.empty()) continue;
    if (!outputs.empty() && outputs.back().data() + outputs.back().size() == logits.data())
      outputs.back() = {outputs.back().data(), outputs.back().size() + logits.size()};
    else
      outputs.push_back(logits);
  }
  if (rows.empty()) return;
  Step wanted{rows.size(), {}, step.scratch, step.pool, step.observer};
  for_tokens(wanted, 2 * hidden, [&](std::size_t t) {
    kernels::ops().rms_norm(h.data() + rows[t] * hidden, weights.norm_f.data(),
                            x.data() + t * hidden, hidden, config.norm_eps);
  });
  rotate_for(weights.lm_head.weight, x.first(rows.size() * hidden), wanted);
  if (wanted.observer != nullptr) show(wanted, weights.lm_head.weight, x.data());
  for (std::size_t row = 0; const auto& output : outputs) {
    kernels::apply(weights.lm_head, x.data() + row * hidden, output.size() / vocab, hidden,
                   output.data(), vocab, step.pool);
    row += output.size() / vocab;
  }
  parallel(step, pieces.size(), vocab / 4, [&](std::size_t i) {
    const auto logits = pieces[i].logits();
    if (!kernels::ops().finite(logits.data(), logits.size())) not_finite(pieces[i], "a logit");
  });
}

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Result<Model> Model::load(const formats::Checkpoint& checkpoint) {
  auto state = std::make_unique<State>();
  TERN_TRY(state->config, Config::from(checkpoint));
  TERN_TRY(state->weights, Weights::load(checkpoint, state->config));
  state->shape = sequence_shape_of(state->config);
  TERN_TRY(state->fold, read_fold(checkpoint));
  return Model(std::move(state));
}

const Config& Model::config() const {
  return state_->config;
}
std::uint64_t Model::parameters() const {
  return state_->weights.parameters;
}
std::uint64_t Model::weight_bytes() const {
  return state_->weights.bytes;
}
const std::vector<TensorEntry>& Model::tensors() const {
  return state_->weights.entries;
}
const std::vector<std::string>& Model::ignored() const {
  return state_->weights.ignored;
}
const state::SequenceShape& Model::sequence_shape() const {
  return state_->shape;
}

Result<MemoryNeeds> Model::memory(std::size_t context, const state::KvConfig& kv) const {
  TERN_TRY(const auto cache, state::KvCache::create(state_->shape.kv(), kv));
  const auto pages = checked_mul(context, cache.bytes_per_token());
  const auto bytes = pages ? checked_add(*pages, cache.window_limit()) : std::nullopt;
  if (!bytes)
    return fail(ErrorCode::too_large,
                "a context of " + std::to_string(context) + " tokens needs more than 2^64 bytes");
  const std::size_t threads = ThreadPool::default_threads();
  return MemoryNeeds{
      weight_bytes(), *bytes, state_->shape.state_bytes(),
      state_->scratch_floats(state_->chunk_tokens(threads), threads) * sizeof(float)};
}

Result<MemoryNeeds> Model::memory_of(const Config& config, std::uint64_t weight_bytes,
                                     std::size_t context, const state::KvConfig& kv) {
  auto state = std::make_unique<State>();
  state->config = config;
  state->shape = sequence_shape_of(config);
  TERN_TRY(MemoryNeeds needs, Model(std::move(state)).memory(context, kv));
  needs.weights = weight_bytes;
  return needs;
}

const Fold& Model::folded() const {
  return state_->fold;
}

Result<void> Model::fold(const Fold& fold) {
  if (state_->fold != Fold{})
    return fail(ErrorCode::usage, "the model is folded already", "fold",
                "leave the option out: its cache does not rotate");
  TERN_TRY_VOID(model::fold(state_->weights, state_->config, fold));
  state_->fold = fold;
  return {};
}

Result<state::Sequence> Model::new_sequence(const state::KvConfig& kv, std::size_t capacity) const {
  state::KvConfig own = kv;
  own.rotated_keys = state_->fold.keys;
  own.rotated_values = state_->fold.values;
  return state::Sequence::create(state_->shape, own, capacity);
}

void Model::observe(InputObserver* observer) {
  state_->observer = observer;
}

/// Checks a part and makes room for it.
Result<void> Model::State::admit(const Part& part, std::size_t step, ThreadPool& pool) const {
  const std::size_t rows = part.mode == LogitsMode::none   ? 0
                           : part.mode == LogitsMode::last ? 1
                                                           : part.tokens.size();
  TERN_CHECK(!part.tokens.empty() && part.logits.size() == rows * config.vocab_size);
  TERN_TRY_VOID(check_tokens(part.tokens, config.vocab_size));
  if (part.sequence->shape() != shape)
    return fail(ErrorCode::mismatch, "the sequence belongs to a model of another shape");
  return part.sequence->reserve(part.tokens.size(), std::min(part.tokens.size(), step), &pool);
}

void Model::forward(std::span<Part> parts, ThreadPool& pool) {
  const std::size_t chunk_tokens = state_->chunk_tokens(pool.size());
  std::size_t all = 0;
  for (Part& part : parts) {
    part.result = state_->admit(part, chunk_tokens, pool);
    if (part.result) all += part.tokens.size();
  }
  const std::size_t most = std::min(all, chunk_tokens);
  try {
    state_->scratch.reserve(state_->scratch_floats(most, pool.size()));
  } catch (const std::bad_alloc&) {
    for (Part& part : parts)
      if (part.result)
        part.result = fail(ErrorCode::no_memory,
                           "no memory for the activations of " + std::to_string(most) + " tokens");
    return;
  }
  Cutter cutter(parts);
  std::vector<Piece> pieces;
  std::vector<Chunk> chunks;
  while (cutter.next(most, pieces, chunks)) {
    Step step{chunks.back().first + chunks.back().tokens, chunks, state_->scratch, pool,
              state_->observer};
    state_->run(pieces, step);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].part->result)
        chunks[i].sequence->advance(chunks[i].tokens);
      else
        chunks[i].sequence->reset();
    }
  }
}

Result<void> Model::forward(std::span<const TokenId> tokens, state::Sequence& sequence,
                            LogitsMode mode, std::span<float> logits, ThreadPool& pool) {
  Part part{tokens, &sequence, mode, logits};
  forward({&part, 1}, pool);
  return part.result;
}

}  // namespace tern::model
