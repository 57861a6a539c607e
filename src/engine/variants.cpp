#include "engine/variants.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "base/printable.h"
#include "engine/kv_options.h"

namespace tern::engine {
namespace {

using model::Config;
using model::LayerKind;

/// A storage type: bytes of a block, weights of a block.
struct Type {
  std::uint64_t bytes, weights;
  std::uint64_t of(std::uint64_t count) const { return count / weights * bytes; }
};
constexpr Type q4_0{18, 32}, q5_0{22, 32}, q5_1{24, 32}, q8_0{34, 32}, iq4_nl{18, 32},
    mxfp4{17, 32}, q2_k{84, 256}, q3_k{110, 256}, q4_k{144, 256}, q5_k{176, 256}, iq4_xs{136, 256};

struct GgufTypes {
  std::string_view name;
  Type plain;                 ///< token_embd, ssm_in, attn_q, attn_k
  Type ssm_out, attn_output;  ///< rows of 4096, which 256 divides
  Type experts;               ///< ffn_up_exps
  Type shared;                ///< ffn_up_shexp
  Type attn_v, down;          ///< ffn_down_exps and ffn_down_shexp, unless experts are mxfp4
  Type better;                ///< of the layers that get more bits
  std::size_t better_attn_v, better_down;  ///< how many do
};

// llama.cpp gives more bits to the first and last eighth of the layers and to every third between
// (IQ4_XS: to the first eighth; Q3_K: to the first sixteenth, and to two of attn_v). Of the blocks
// with experts those are 11 (2; 1), of the six attention layers 2 (0; 2).
constexpr GgufTypes kGgufTypes[] = {
    {"GGUF-Q2_K", q4_0, q2_k, q3_k, q4_0, q4_0, q4_0, q4_0, q4_0, 0, 0},
    {"GGUF-Q3_K_M", q4_0, q3_k, q4_k, q4_0, q4_0, q5_0, q5_0, q5_1, 2, 1},
    {"GGUF-IQ4_XS", iq4_nl, iq4_xs, iq4_xs, iq4_nl, iq4_nl, iq4_nl, iq4_nl, q5_1, 0, 2},
    {"GGUF-Q4_K_M", q5_0, q4_k, q4_k, q5_0, q5_0, q5_0, q5_0, q8_0, 2, 11},
    {"GGUF-MXFP4_MOE", q8_0, q8_0, q8_0, mxfp4, q8_0, q8_0, mxfp4, q8_0, 0, 0},
    {"GGUF-Q5_K_M", q5_1, q5_k, q5_k, q5_1, q5_1, q5_1, q5_1, q8_0, 2, 11},
    {"GGUF-Q8_0", q8_0, q8_0, q8_0, q8_0, q8_0, q8_0, q8_0, q8_0, 0, 0},
};

struct MlxType {
  std::string_view name;
  Type type;
};
constexpr MlxType kMlxTypes[] = {
    {"MLX-2bit", {16 + 4, 64}}, {"MLX-3bit", {24 + 4, 64}}, {"MLX-4bit", {32 + 4, 64}},
    {"MLX-5bit", {40 + 4, 64}}, {"MLX-6bit", {48 + 4, 64}}, {"MLX-8bit", {64 + 4, 64}},
    {"MLX-MXFP4", mxfp4},
};

/// Numbers of weights, by what the formats tell apart. Matrices of one layer each.
struct Weights {
  explicit Weights(const Config& c)
      : mamba(c.count(LayerKind::mamba)),
        attention(c.count(LayerKind::attention)),
        moe(c.count(LayerKind::moe)),
        embedding(c.vocab_size * c.hidden_size),
        ssm_in(c.mamba.in_proj_dim() * c.hidden_size),
        ssm_out(c.mamba.d_inner() * c.hidden_size),
        q(c.attention.q_dim() * c.hidden_size),
        kv(c.attention.kv_dim() * c.hidden_size),
        experts(c.moe.experts * c.moe.intermediate * c.hidden_size),
        shared(c.moe.shared * c.hidden_size),
        wide(mamba * c.mamba.num_heads + moe * c.moe.experts) {
    const auto norms = (c.layers.size() + 1) * c.hidden_size;
    const auto conv = c.mamba.conv_dim() * (c.mamba.conv_kernel + 1);  // and its bias
    others = norms + mamba * (conv + 2 * c.mamba.num_heads + c.mamba.d_inner()) +
             moe * c.moe.experts * c.hidden_size;
  }

  std::uint64_t matrices() const {
    return 2 * embedding + mamba * (ssm_in + ssm_out) + attention * 2 * (q + kv) +
           moe * 2 * (experts + shared);
  }

  std::uint64_t mamba, attention, moe;  ///< layers
  std::uint64_t embedding, ssm_in, ssm_out, q, kv, experts, shared;
  std::uint64_t wide;    ///< A_log and the routers' correction, in MLX 32-bit
  std::uint64_t others;  ///< whatever else is no matrix, and the routers
};

std::uint64_t gguf_bytes(const GgufTypes& t, const Weights& w) {
  const Type shared_down = t.down.bytes == mxfp4.bytes ? t.shared : t.down;
  const auto down = [&](const Type& experts, const Type& shared) {
    return experts.of(w.experts) + shared.of(w.shared);
  };
  return q8_0.of(w.embedding) + t.plain.of(w.embedding) +
         w.mamba * (t.plain.of(w.ssm_in) + t.ssm_out.of(w.ssm_out)) +
         w.attention * (t.plain.of(w.q) + t.plain.of(w.kv) + t.attn_output.of(w.q)) +
         (w.attention - t.better_attn_v) * t.attn_v.of(w.kv) + t.better_attn_v * t.better.of(w.kv) +
         w.moe * (t.experts.of(w.experts) + t.shared.of(w.shared)) +
         (w.moe - t.better_down) * down(t.down, shared_down) +
         t.better_down * down(t.better, t.better) + 4 * (w.others + w.wide);
}

}  // namespace

const Config& family_config() {
  static const Config config = [] {
    Config c;
    c.architecture = "nemotron_h";
    c.hidden_size = 2688;
    c.vocab_size = 131072;
    for (const char kind : std::string_view("MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"))
      c.layers.push_back(kind == 'M'   ? LayerKind::mamba
                         : kind == '*' ? LayerKind::attention
                                       : LayerKind::moe);
    c.mamba.num_heads = 64;
    c.mamba.head_dim = 64;
    c.mamba.n_groups = 8;
    c.mamba.state_size = 128;
    c.mamba.conv_kernel = 4;
    c.attention.num_heads = 32;
    c.attention.num_kv_heads = 2;
    c.attention.head_dim = 128;
    c.moe.experts = 128;
    c.moe.top_k = 6;
    c.moe.intermediate = 1856;
    c.moe.shared = 3712;
    c.max_position_embeddings = 262144;
    return c;
  }();
  return config;
}

Result<std::uint64_t> variant_bytes(std::string_view format) {
  const Weights weights(family_config());
  for (const MlxType& mlx : kMlxTypes)
    if (mlx.name == format)
      return mlx.type.of(weights.matrices()) + 2 * weights.others + 4 * weights.wide;
  for (const GgufTypes& gguf : kGgufTypes)
    if (gguf.name == format) return gguf_bytes(gguf, weights);
  return fail(ErrorCode::usage, printable(format) + " is no format of the family");
}

Result<model::MemoryNeeds> variant_memory(std::string_view format, std::string_view cache,
                                          std::size_t context) {
  TERN_TRY(const std::uint64_t weights, variant_bytes(format));
  TERN_TRY(const KvTypes types, parse_kv(cache.empty() ? "f16" : cache));
  return model::Model::memory_of(family_config(), weights, context, {types.keys, types.values});
}

std::uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGE_SIZE);
  return pages > 0 && size > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size)
             : 0;
}

}  // namespace tern::engine
