// The four kinds of layer: y = mixer(x) for the tokens of one or more sequences.
#pragma once
#include <cstddef>
#include <functional>
#include <span>

#include "base/thread_pool.h"
#include "model/config.h"
#include "model/observer.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "state/sequence.h"

namespace tern::model {

/// Consecutive tokens of one sequence among the rows of a step.
struct Chunk {
  std::size_t first = 0;  ///< row of its first token
  std::size_t tokens = 0;
  std::size_t position = 0;  ///< of the first token in the sequence
  state::Sequence* sequence = nullptr;
};

/// Tokens that go through a layer together, so that its weights are read once: what a mixer needs
/// besides them. Everything is [tokens, ...], row after row, chunk after chunk. Products see rows
/// alone; only convolutions, recurrent states and attention ask whose they are.
struct Step {
  std::size_t tokens = 0;         ///< of all chunks
  std::span<const Chunk> chunks;  ///< no sequence twice
  Scratch& scratch;
  ThreadPool& pool;
  InputObserver* observer = nullptr;  ///< of all products; mostly nobody
};

/// What several matrices of a layer read: x, and R x for those that hold turboquant weights.
struct Input {
  std::span<const float> plain;
  std::span<const float> rotated;  ///< empty in a model that has no rotated matrices

  std::span<const float> of(const quant::Matrix& matrix) const {
    return matrix.rotated() ? rotated : plain;
  }
};

/// `layer` counts the layers of the same kind. x and y are [tokens, hidden].
void mamba(const MambaConfig& c, float norm_eps, const MambaWeights& w, std::size_t layer,
           const Input& x, std::span<float> y, Step& step);
void attention(const AttentionConfig& c, const AttentionWeights& w, std::size_t layer,
               const Input& x, std::span<float> y, Step& step);
void moe(const MoeConfig& c, const MoeWeights& w, const Input& x, std::span<float> y, Step& step);
void mlp(const MlpWeights& w, const Input& x, std::span<float> y, Step& step);

/// Floats that a layer keeps in a sequence besides the inputs of its convolution.
std::size_t mamba_state_values(const MambaConfig& c);

/// Floats of scratch that each takes for so many tokens on so many threads.
std::size_t mamba_scratch(const MambaConfig& c, std::size_t tokens, std::size_t threads);
std::size_t attention_scratch(const AttentionConfig& c, std::size_t tokens, std::size_t threads);
std::size_t moe_scratch(const MoeConfig& c, std::size_t hidden, std::size_t tokens);
std::size_t mlp_scratch(std::size_t intermediate, std::size_t tokens);

/// y = W x (+ b) for every token.
void linear(const Linear& w, const Input& x, std::span<float> y, Step& step);

/// The same for an x that nobody reads after: it becomes R x where W asks for that.
void linear(const Linear& w, std::span<float> x, std::span<float> y, Step& step);

/// x <- R x for every row of x, if `matrix` is rotated.
void rotate_for(const quant::Matrix& matrix, std::span<float> x, Step& step);

/// Tells the observer, who must be there, that `matrix` is applied to all rows of x.
void show(Step& step, const quant::Matrix& matrix, const float* x);

/// Calls body(i) for i < count, on all threads. Items are handed out in pieces of at least some
/// 32000 operations, `work` each, so that small loops stay on the calling thread.
void parallel(Step& step, std::size_t count, std::size_t work,
              const std::function<void(std::size_t)>& body);

/// The same with so many floats of scratch for each thread, one item at a time. Items should come
/// in order of falling work.
void parallel(Step& step, std::size_t count, std::size_t work, std::size_t floats,
              const std::function<void(std::size_t, std::span<float>)>& body);

/// The same for every token; `work` is that of one.
void for_tokens(Step& step, std::size_t work, const std::function<void(std::size_t)>& body);

}  // namespace tern::model
