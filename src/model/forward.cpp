// The skeleton of the model:
//
//   h = embeddings[token]
//   for each layer:  h = h + mixer(RMSNorm(h))
//   logits = lm_head RMSNorm(h)
#include "model/forward.h"

#include <algorithm>
#include <atomic>
#include <new>

#include "base/checked.h"
#include "kernels/ops.h"
#include "kernels/ssd.h"
#include "model/mixers.h"
#include "quant/turbo_weights.h"

namespace tern::model {

/// Tokens that go through the layers together, and the activations that they may take (1 GiB);
/// longer inputs are cut, which changes no result.
constexpr std::size_t kChunkTokens = 512;
constexpr std::size_t kScratchFloats = std::size_t{1} << 28;

struct Model::State {
  Config config;
  Weights weights;
  state::SequenceShape shape;
  Fold fold;
  Scratch scratch;

  std::size_t scratch_floats(std::size_t tokens, std::size_t threads) const;
  std::size_t chunk_tokens(std::size_t threads) const;
  void embed(std::span<const TokenId> tokens, std::span<float> h) const;
  Input input(std::span<const float> x, std::span<float> rotated, Chunk& chunk) const;
  void mix(std::size_t layer, std::size_t nth, const Input& x, std::span<float> y,
           Chunk& chunk) const;
  void rms_norm(const Buffer<float>& weight, std::span<const float> x, std::span<float> y,
                Chunk& chunk) const;
  Result<void> run(std::span<const TokenId> tokens, LogitsMode mode, std::span<float> logits,
                   Chunk& chunk) const;
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

std::unexpected<Error> not_finite(std::string what) {
  return fail(ErrorCode::numeric, what + " is not finite", "", "a broken model file");
}

/// h += y; whether everything is finite.
bool add(std::span<float> h, std::span<const float> y, Chunk& chunk) {
  const std::size_t width = h.size() / chunk.tokens;
  std::atomic<bool> finite = true;
  for_tokens(chunk, width, [&](std::size_t t) {
    if (!kernels::ops().add(h.data() + t * width, y.data() + t * width, width)) finite = false;
  });
  return finite;
}

}  // namespace

std::size_t Model::State::scratch_floats(std::size_t tokens, std::size_t threads) const {
  const std::size_t hidden = config.hidden_size;
  std::size_t mixer = 0;
  if (config.count(LayerKind::mamba) > 0)
    mixer = std::max(mixer, mamba_scratch(config.mamba, tokens));
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
                            std::span<float> y, Chunk& chunk) const {
  const std::size_t hidden = config.hidden_size;
  for_tokens(chunk, 2 * hidden, [&](std::size_t t) {
    kernels::ops().rms_norm(x.data() + t * hidden, weight.data(), y.data() + t * hidden, hidden,
                            config.norm_eps);
  });
}

/// x as it is and, in a model of rotated matrices, in their basis.
Input Model::State::input(std::span<const float> x, std::span<float> rotated, Chunk& chunk) const {
  if (rotated.empty()) return {x, {}};
  const std::size_t hidden = config.hidden_size;
  for_tokens(chunk, 2 * hidden, [&](std::size_t t) {
    const auto row = rotated.subspan(t * hidden, hidden);
    std::ranges::copy(x.subspan(t * hidden, hidden), row.begin());
    quant::rotate_inputs(weights.signs, row.data(), hidden);
  });
  return {x, rotated};
}

/// y = mixer(x); `nth` counts the layers of the same kind.
void Model::State::mix(std::size_t layer, std::size_t nth, const Input& x, std::span<float> y,
                       Chunk& chunk) const {
  const auto& w = weights.layers[layer].mixer;
  switch (config.layers[layer]) {
    case LayerKind::mamba:
      return mamba(config.mamba, config.norm_eps, std::get<MambaWeights>(w), nth, x, y, chunk);
    case LayerKind::attention:
      return attention(config.attention, std::get<AttentionWeights>(w), nth, x, y, chunk);
    case LayerKind::moe:
      return moe(config.moe, std::get<MoeWeights>(w), x, y, chunk);
    case LayerKind::mlp:
      return mlp(std::get<MlpWeights>(w), x, y, chunk);
  }
}

Result<void> Model::State::run(std::span<const TokenId> tokens, LogitsMode mode,
                               std::span<float> logits, Chunk& chunk) const {
  const std::size_t hidden = config.hidden_size, size = tokens.size() * hidden;
  const Scratch::Frame frame(chunk.scratch);
  const auto h = chunk.scratch.take(size), x = chunk.scratch.take(size);
  const auto y = chunk.scratch.take(size);
  const auto rotated = chunk.scratch.take(weights.signs == nullptr ? 0 : size);

  embed(tokens, h);
  if (!kernels::ops().finite(h.data(), size)) return not_finite("an embedding");
  std::size_t seen[4] = {};  // layers of each kind
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    rms_norm(weights.layers[i].norm, h, x, chunk);
    mix(i, seen[static_cast<std::size_t>(config.layers[i])]++, input(x, rotated, chunk), y, chunk);
    if (!add(h, y, chunk))
      return not_finite("the output of layer " + std::to_string(i) + " (" +
                        std::string(name(config.layers[i])) + ")");
  }
  if (mode == LogitsMode::none) return {};

  const std::size_t first = mode == LogitsMode::last ? tokens.size() - 1 : 0;
  Chunk wanted{tokens.size() - first, chunk.position + first, chunk.sequence, chunk.scratch,
               chunk.pool};
  rms_norm(weights.norm_f, h.subspan(first * hidden), x, wanted);
  rotate_for(weights.lm_head.weight, x.first(wanted.tokens * hidden), wanted);
  kernels::apply(weights.lm_head, x.data(), wanted.tokens, hidden, logits.data(), config.vocab_size,
                 chunk.pool);
  if (!kernels::ops().finite(logits.data(), logits.size())) return not_finite("a logit");
  return {};
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
  TERN_TRY(state->fold, read_fold(checkpoint.config(), checkpoint.display_name() + "/config.json"));
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

Result<void> Model::forward(std::span<const TokenId> tokens, state::Sequence& sequence,
                            LogitsMode mode, std::span<float> logits, ThreadPool& pool) {
  const std::size_t vocab = config().vocab_size;
  const std::size_t rows = mode == LogitsMode::none   ? 0
                           : mode == LogitsMode::last ? 1
                                                      : tokens.size();
  TERN_CHECK(!tokens.empty() && logits.size() == rows * vocab);
  TERN_TRY_VOID(check_tokens(tokens, vocab));
  if (sequence.shape() != state_->shape)
    return fail(ErrorCode::mismatch, "the sequence belongs to a model of another shape");
  const std::size_t most = std::min(tokens.size(), state_->chunk_tokens(pool.size()));
  TERN_TRY_VOID(sequence.reserve(tokens.size(), most, &pool));
  try {
    state_->scratch.reserve(state_->scratch_floats(most, pool.size()));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::no_memory,
                "no memory for the activations of " + std::to_string(most) + " tokens");
  }
  for (std::size_t begin = 0; begin < tokens.size(); begin += most) {
    const std::size_t n = std::min(most, tokens.size() - begin);
    const bool end = begin + n == tokens.size();
    Chunk chunk{n, sequence.position(), sequence, state_->scratch, pool};
    const LogitsMode wanted = mode == LogitsMode::last && !end ? LogitsMode::none : mode;
    const auto part = mode == LogitsMode::all ? logits.subspan(begin * vocab, n * vocab) : logits;
    if (auto done = state_->run(tokens.subspan(begin, n), wanted, part, chunk); !done) {
      sequence.reset();
      return done;
    }
    sequence.advance(n);
  }
  return {};
}

}  // namespace tern::model
