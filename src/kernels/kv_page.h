// How the keys or the values of one KV head lie in a page of the cache.
//
// Keys are transposed, [element][token], so that sixteen tokens are the lanes of a register; values
// are [token][element], so that sixteen elements are. Codes of b bits are planes of 64-byte units:
// sixteen 32-bit words, one for each lane, that hold the codes of 32 / b blocks of sixteen, the
// first block in the lowest bits. 3-bit codes are a plane of 2 bits and one of the third bit.
// Then come the scales, [scale group][token] in binary16, and the biases likewise. A page has the
// bytes of kKvPageTokens packed vectors, and not one more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/kv_codec.h"

namespace tern::kernels {

/// Tokens of a page.
inline constexpr std::size_t kKvPageTokens = 64;
/// Longest vectors that attention unpacks a page of.
inline constexpr std::size_t kKvUnpackedDim = 128;

enum class KvSide : std::uint8_t { keys, values };

enum class KvCode : std::uint8_t { f32, f16, bf16, code2, code3, code4, code8 };

/// Elements [first, first + count) of a vector, which share a scale and a codebook.
struct KvSegment {
  std::size_t first = 0, count = 0;
  KvCode code = KvCode::f16;
  std::size_t run_first = 0, run_count = 0;  ///< elements of the planes that they lie in
  std::size_t low = 0;                       ///< bytes from the start of a page to the plane
  std::size_t high = 0;                      ///< 3 bits: to the plane of third bits
  std::size_t scale = 0;                     ///< bytes to the 64 scales; 0: none
  std::size_t bias = 0;                      ///< bytes to the 64 biases; 0: none
  /// By code, repeated up to 16; of 8 bits the first alone, each next one is greater by 1.
  alignas(64) float levels[16] = {};
  /// The same in steps; of 8 bits the first alone, in `lowest`.
  std::int8_t whole[16] = {};
  float step = 1;
  int lowest = 0;
};

class KvLayout {
 public:
  KvLayout(quant::KvCodec codec, KvSide side);

  const quant::KvCodec& codec() const { return codec_; }
  KvSide side() const { return side_; }
  std::size_t page_bytes() const { return bytes_; }
  /// In order, without gaps. Plain numbers are one segment without scale.
  std::span<const KvSegment> segments() const { return segments_; }

  /// Whether attention takes the codes as whole numbers, see attention_whole.inc.h: of vectors of
  /// up to 128, and values of exactly 128 in one run.
  bool whole() const { return whole_; }

  /// Stores x [dim], in the caller's basis, as token `token` of a page.
  void write(std::byte* page, std::size_t token, std::span<const float> x) const;
  /// What `write` kept, without the inverse rotation.
  void read_rotated(const std::byte* page, std::size_t token, std::span<float> r) const;
  /// The same in the caller's basis.
  void read(const std::byte* page, std::size_t token, std::span<float> x) const;

 private:
  std::size_t element(const KvSegment& segment, std::size_t i, std::size_t token) const;

  quant::KvCodec codec_;
  KvSide side_;
  std::size_t bytes_ = 0;
  bool whole_ = false;
  std::vector<KvSegment> segments_;
};

}  // namespace tern::kernels
