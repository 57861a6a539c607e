#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <new>

namespace tern::engine {
namespace {

using formats::Checkpoint;

constexpr std::size_t kMostThreads = 1024;
constexpr std::size_t kMostPrefillChunk = 65536;
// GGUF files of the family claim four times this; the model card says 256k.
constexpr std::size_t kFamilyContext = 262144;
constexpr std::size_t kLeastContext = 4096;

Result<void> check(const LoadOptions& options) {
  if (options.threads > kMostThreads)
    return fail(ErrorCode::usage,
                fmt::format("threads is {}, must be at most {}", options.threads, kMostThreads),
                "threads");
  if (options.prefill_chunk == 0 || options.prefill_chunk > kMostPrefillChunk)
    return fail(ErrorCode::usage,
                fmt::format("prefill_chunk is {}, must be from 1 to {}", options.prefill_chunk,
                            kMostPrefillChunk),
                "prefill_chunk");
  return {};
}

Result<state::StateCodec> parse_state_codec(std::string_view name) {
  if (const auto codec = state::state_codec(name)) return *codec;
  return fail(ErrorCode::usage, fmt::format("\"{}\" is none of f32, lossless, q8, q6, q4", name),
              "state_codec");
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::load(std::string_view model, const LoadOptions& options) {
  if (options.progress) options.progress("opening", 0, 2);
  TERN_TRY(Checkpoint checkpoint, open_checkpoint(model, find_options(options)));
  return load(std::move(checkpoint), options);
}

Result<std::unique_ptr<Engine>> Engine::load(Checkpoint checkpoint, const LoadOptions& options) {
  TERN_TRY_VOID(check(options));
  if (options.progress) options.progress("opening", 1, 2);
  TERN_TRY(model::Model model, model::Model::load(checkpoint));
  TERN_TRY(Vocabulary vocabulary, Vocabulary::load(checkpoint, model.config()));
  TERN_TRY(Chat chat, Chat::load(checkpoint, vocabulary.tokenizer));
  TERN_TRY(const Defaults defaults, Defaults::load(checkpoint));
  std::unique_ptr<Engine> engine(new Engine(std::move(checkpoint), std::move(model),
                                            std::move(vocabulary), std::move(chat), defaults,
                                            options));
  TERN_TRY(engine->state_codec_, parse_state_codec(options.state_codec));
  TERN_TRY(engine->kv_, resolve_kv(options.kv, engine->checkpoint_.display_name()));
  if (options.fold) TERN_TRY_VOID(engine->fold());
  TERN_TRY(engine->context_, engine->find_context());
  engine->report("opening", 2, 2);
  return engine;
}

Engine::Engine(Checkpoint checkpoint, model::Model model, Vocabulary vocabulary, Chat chat,
               Defaults defaults, const LoadOptions& options)
    : checkpoint_(std::move(checkpoint)),
      model_(std::move(model)),
      vocabulary_(std::move(vocabulary)),
      chat_(std::move(chat)),
      defaults_(defaults),
      options_(options),
      pool_(options.threads) {}

Engine::~Engine() = default;

Result<void> Engine::fold() {
  const std::size_t dim = model_.config().attention.head_dim;
  model::Fold fold;
  for (const auto& [scheme, kind] :
       {std::pair{kv_.config.keys, &fold.keys}, std::pair{kv_.config.values, &fold.values}}) {
    TERN_TRY(const auto codec, quant::KvCodec::create(scheme, dim));
    *kind = codec.rotation().kind();
  }
  if (fold != model::Fold{}) return model_.fold(fold);
  return fail(ErrorCode::usage, "a cache of type " + kv_label(kv_.config) + " rotates nothing",
              "fold", "choose a turbo, planar or iso type, or leave the option out");
}

Result<std::size_t> Engine::find_context() const {
  if (options_.context != 0) {
    TERN_TRY_VOID(model_.new_sequence(kv_.config, options_.context));
    return options_.context;
  }
  const std::size_t claimed = model_.config().max_position_embeddings;
  std::size_t context = claimed == 0 ? kFamilyContext : std::min(claimed, kFamilyContext);
  while (true) {
    const auto sequence = model_.new_sequence(kv_.config, context);
    if (sequence) return context;
    if (sequence.error().code != ErrorCode::too_large || context / 2 < kLeastContext)
      return std::unexpected(sequence.error());
    context /= 2;
  }
}

ModelInfo Engine::info() const {
  const state::SequenceShape& shape = model_.sequence_shape();
  const auto cache = state::KvCache::create(shape.kv(), kv_.config);  // possible: see load
  return {.name = checkpoint_.display_name(),
          .architecture = model_.config().architecture,
          .container = std::string(formats::name(checkpoint_.container())),
          .layers = model_.config().layers.size(),
          .vocabulary = vocabulary_.size,
          .context = context_,
          .parameters = model_.parameters(),
          .weight_bytes = model_.weight_bytes(),
          .kv_keys = std::string(quant::name(kv_.config.keys)),
          .kv_values = std::string(quant::name(kv_.config.values)),
          .kv_from_name = kv_.from_name,
          .kv_bytes_per_token = cache ? cache->bytes_per_token() : 0,
          .kv_window_bytes = cache ? cache->window_limit() : 0,
          .state_bytes = shape.state_bytes(),
          .resident_weight_bytes = checkpoint_.resident_bytes(),
          .trained_context = model_.config().max_position_embeddings};
}

Result<state::KvConfig> Engine::kv_config(const KvOptions& kv) const {
  KvOptions asked = kv;
  if (asked.keys.empty() && asked.values.empty()) asked.keys = kv_label(kv_.config);
  TERN_TRY(const KvChoice choice,
           resolve_kv(asked, checkpoint_.display_name(), {kv_.config.keys, kv_.config.values}));
  TERN_TRY_VOID(state::KvCache::create(model_.sequence_shape().kv(), choice.config));
  return choice.config;
}

Result<state::Sequence> Engine::new_sequence(const state::KvConfig& kv) const {
  return model_.new_sequence(kv, context_);
}

void Engine::forward(std::span<model::Part> parts) {
  const std::scoped_lock turn(step_);
  model_.forward(parts, pool_);
}

Result<void> Engine::forward(std::span<const TokenId> tokens, state::Sequence& sequence,
                             model::LogitsMode mode, std::span<float> logits) {
  const std::scoped_lock turn(step_);
  return model_.forward(tokens, sequence, mode, logits, pool_);
}

Result<state::Snapshot> Engine::snapshot(const state::Sequence& sequence) {
  return sequence.snapshot(state_codec_, &pool_);
}

Result<void> Engine::restore(state::Sequence& sequence, const state::Snapshot& snapshot) {
  return sequence.restore(snapshot, &pool_);
}

Result<void> Engine::rest(state::Sequence& sequence) {
  using state::StateCodec;
  return sequence.rest(state_codec_ == StateCodec::f32 ? StateCodec::lossless : state_codec_,
                       &pool_);
}

Result<void> Engine::store(const state::Sequence& sequence, const state::Sink& sink) {
  return sequence.store(sink, &pool_);
}

void Engine::parallel(std::size_t count, const std::function<void(std::size_t)>& body) {
  pool_.parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) body(i);
  });
}

std::uint64_t Engine::bytes_of(std::size_t tokens) const {
  const auto needs = model_.memory(tokens, kv_.config);
  return needs ? needs->kv + needs->state : std::numeric_limits<std::uint64_t>::max();
}

void Engine::report(std::string_view what, std::size_t done, std::size_t total) const {
  if (options_.progress) options_.progress(what, done, total);
}

}  // namespace tern::engine
