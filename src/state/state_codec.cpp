#include "state/state_codec.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <new>
#include <string>

#include "quant/kv_codec.h"

namespace tern::state {
namespace {

using quant::KvCodec;
using quant::Rotation;

using Bytes = std::vector<std::byte>;

constexpr std::size_t kBlock = 65536;  // values that one thread packs
constexpr std::size_t kVector = 128;
constexpr std::uint64_t kSeed = 3;  // of the rotation; 1 and 2 are the cache's
constexpr int kLevel = 1;           // of zstd: the planes that shrink do so at any level
constexpr float kMost = 65504;

constexpr std::array<std::string_view, 5> kNames = {"f32", "lossless", "q8", "q6", "q4"};

// Planes of bytes: [4] sizes, then the compressed planes.

void pack_lossless(std::span<const float> x, Bytes& out) {
  constexpr std::size_t kHeader = 4 * sizeof(std::uint32_t);
  std::vector<std::uint8_t> plane(x.size());
  out.resize(kHeader + 4 * ZSTD_compressBound(x.size()));
  std::size_t end = kHeader;
  for (std::size_t p = 0; p < 4; ++p) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &x[i], 4);
      plane[i] = static_cast<std::uint8_t>(bits >> (8 * p));
    }
    const std::size_t n =
        ZSTD_compress(out.data() + end, out.size() - end, plane.data(), plane.size(), kLevel);
    if (ZSTD_isError(n) != 0) throw std::bad_alloc();  // the bound holds: nothing else can fail
    const auto size = static_cast<std::uint32_t>(n);
    std::memcpy(out.data() + p * sizeof size, &size, sizeof size);
    end += n;
  }
  out.resize(end);
  out.shrink_to_fit();
}

bool unpack_lossless(std::span<const std::byte> in, std::span<float> x) {
  std::uint32_t sizes[4];
  if (in.size() < sizeof sizes) return false;
  std::memcpy(sizes, in.data(), sizeof sizes);
  std::size_t begin = sizeof sizes;
  std::vector<std::uint8_t> plane(x.size());
  std::vector<std::uint32_t> bits(x.size());
  for (unsigned p = 0; p < 4; ++p) {
    if (sizes[p] > in.size() - begin) return false;
    const std::size_t n = ZSTD_decompress(plane.data(), plane.size(), in.data() + begin, sizes[p]);
    if (n != plane.size()) return false;  // an error code is greater
    begin += sizes[p];
    for (std::size_t i = 0; i < x.size(); ++i) bits[i] |= std::uint32_t{plane[i]} << (8 * p);
  }
  if (begin != in.size()) return false;
  std::memcpy(x.data(), bits.data(), x.size_bytes());
  return true;
}

/// Vectors of 128, the last one filled up with zeros.
template <class F>
void for_vectors(std::size_t values, F f) {
  for (std::size_t first = 0; first < values; first += kVector)
    f(first, std::min(kVector, values - first));
}

const Rotation& rotation() {
  static const Rotation hadamard = Rotation::make(quant::RotationKind::hadamard, kVector, kSeed);
  return hadamard;
}

/// Whole numbers of `bits` bits, [-most, most] + most + 1, little-endian, without gaps.
class Uniform {
 public:
  explicit Uniform(unsigned bits) : bits_(bits), most_((1 << (bits - 1)) - 1) {}

  std::size_t vector_bytes() const { return sizeof(float) + kVector * bits_ / 8; }

  void pack(std::span<const float> x, std::byte* out) const {
    float r[kVector] = {};
    for (std::size_t i = 0; i < x.size(); ++i)
      r[i] = std::isnan(x[i]) ? 0 : std::clamp(x[i], -kMost, kMost);
    rotation().forward(r);
    float greatest = 0;
    for (const float value : r) greatest = std::max(greatest, std::abs(value));
    const float step = greatest / static_cast<float>(most_);
    std::memcpy(out, &step, sizeof step);
    out += sizeof step;
    std::uint32_t buffer = 0;
    unsigned held = 0;
    for (const float value : r) {
      const int level =
          step > 0 ? std::clamp(static_cast<int>(std::nearbyint(value / step)), -most_, most_) : 0;
      buffer |= static_cast<std::uint32_t>(level + most_ + 1) << held;
      for (held += bits_; held >= 8; held -= 8, buffer >>= 8)
        *out++ = static_cast<std::byte>(buffer & 0xff);
    }
  }

  void unpack(const std::byte* in, std::span<float> x) const {
    float step = 0, r[kVector];
    std::memcpy(&step, in, sizeof step);
    in += sizeof step;
    std::uint32_t buffer = 0;
    unsigned held = 0;
    for (float& value : r) {
      for (; held < bits_; held += 8) buffer |= std::to_integer<std::uint32_t>(*in++) << held;
      const auto code = static_cast<int>(buffer & ((1u << bits_) - 1));
      value = step * static_cast<float>(code - most_ - 1);
      buffer >>= bits_;
      held -= bits_;
    }
    rotation().inverse(r);
    std::copy_n(r, x.size(), x.data());
  }

 private:
  unsigned bits_;
  int most_;
};

/// The cache's 4-bit codec: two codes to a byte, then the scale.
class Turbo {
 public:
  Turbo() : codec_(*KvCodec::create(quant::KvScheme::turbo4, kVector, kSeed)) {}

  std::size_t vector_bytes() const { return kVector / 2 + sizeof(std::uint16_t); }

  void pack(std::span<const float> x, std::byte* out) const {
    float padded[kVector] = {};
    std::ranges::copy(x, padded);
    std::uint8_t codes[kVector];
    std::uint16_t scale = 0;
    codec_.encode(padded, codes, {&scale, 1}, {});
    for (std::size_t i = 0; i < kVector / 2; ++i)
      out[i] = static_cast<std::byte>(codes[2 * i] | codes[2 * i + 1] << 4);
    std::memcpy(out + kVector / 2, &scale, sizeof scale);
  }

  void unpack(const std::byte* in, std::span<float> x) const {
    std::uint8_t codes[kVector];
    std::uint16_t scale = 0;
    for (std::size_t i = 0; i < kVector / 2; ++i) {
      const auto pair = std::to_integer<std::uint8_t>(in[i]);
      codes[2 * i] = pair & 15;
      codes[2 * i + 1] = pair >> 4;
    }
    std::memcpy(&scale, in + kVector / 2, sizeof scale);
    float padded[kVector];
    codec_.decode(codes, {&scale, 1}, {}, padded);
    std::copy_n(padded, x.size(), x.data());
  }

 private:
  KvCodec codec_;
};

template <class Codec>
void pack_vectors(const Codec& codec, std::span<const float> x, Bytes& out) {
  out.resize((x.size() + kVector - 1) / kVector * codec.vector_bytes());
  std::byte* to = out.data();
  for_vectors(x.size(), [&](std::size_t first, std::size_t count) {
    codec.pack(x.subspan(first, count), to);
    to += codec.vector_bytes();
  });
}

template <class Codec>
bool unpack_vectors(const Codec& codec, std::span<const std::byte> in, std::span<float> x) {
  if (in.size() != (x.size() + kVector - 1) / kVector * codec.vector_bytes()) return false;
  const std::byte* from = in.data();
  for_vectors(x.size(), [&](std::size_t first, std::size_t count) {
    codec.unpack(from, x.subspan(first, count));
    from += codec.vector_bytes();
  });
  return true;
}

void pack_block(StateCodec codec, std::span<const float> x, Bytes& out) {
  switch (codec) {
    case StateCodec::f32:
      out.resize(x.size_bytes());
      std::memcpy(out.data(), x.data(), x.size_bytes());
      return;
    case StateCodec::lossless:
      return pack_lossless(x, out);
    case StateCodec::q8:
      return pack_vectors(Uniform(8), x, out);
    case StateCodec::q6:
      return pack_vectors(Uniform(6), x, out);
    case StateCodec::q4:
      return pack_vectors(Turbo(), x, out);
  }
}

bool unpack_block(StateCodec codec, std::span<const std::byte> in, std::span<float> x) {
  switch (codec) {
    case StateCodec::f32:
      if (in.size() != x.size_bytes()) return false;
      std::memcpy(x.data(), in.data(), x.size_bytes());
      return true;
    case StateCodec::lossless:
      return unpack_lossless(in, x);
    case StateCodec::q8:
      return unpack_vectors(Uniform(8), in, x);
    case StateCodec::q6:
      return unpack_vectors(Uniform(6), in, x);
    case StateCodec::q4:
      return unpack_vectors(Turbo(), in, x);
  }
  return false;
}

/// Calls f(block) for all blocks; false if there was no memory for one.
bool for_blocks(std::size_t blocks, ThreadPool* pool, const std::function<void(std::size_t)>& f) {
  std::atomic<bool> enough = true;
  const auto range = [&](std::size_t begin, std::size_t end) {
    try {
      for (std::size_t i = begin; i < end; ++i) f(i);
    } catch (const std::bad_alloc&) {
      enough = false;
    }
  };
  if (pool != nullptr)
    pool->parallel_for(blocks, 1, range);
  else
    range(0, blocks);
  return enough;
}

std::unexpected<Error> no_memory(std::size_t values) {
  return fail(ErrorCode::no_memory,
              "no memory to pack " + std::to_string(values) + " values of recurrent state");
}

}  // namespace

std::string_view name(StateCodec codec) {
  return kNames[static_cast<std::size_t>(codec)];
}

std::optional<StateCodec> state_codec(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<StateCodec>(found - kNames.begin());
}

std::size_t PackedState::block_count(std::size_t values) {
  return values / kBlock + (values % kBlock != 0);
}

Result<PackedState> PackedState::pack(std::span<const float> values, StateCodec codec,
                                      ThreadPool* pool) try {
  PackedState packed;
  packed.codec_ = codec;
  packed.values_ = values.size();
  packed.blocks_.resize(block_count(values.size()));
  const bool enough = for_blocks(packed.blocks_.size(), pool, [&](std::size_t i) {
    const std::size_t first = i * kBlock;
    pack_block(codec, values.subspan(first, std::min(kBlock, values.size() - first)),
               packed.blocks_[i]);
  });
  if (!enough) return no_memory(values.size());
  return packed;
} catch (const std::bad_alloc&) {
  return no_memory(values.size());
}

Result<void> PackedState::unpack(std::span<float> values, ThreadPool* pool) const {
  if (values.size() != values_)
    return fail(ErrorCode::mismatch, std::to_string(values_) + " packed values for a state of " +
                                         std::to_string(values.size()));
  std::atomic<bool> sound = true;
  const bool enough = for_blocks(blocks_.size(), pool, [&](std::size_t i) {
    const std::size_t first = i * kBlock;
    if (!unpack_block(codec_, blocks_[i], values.subspan(first, std::min(kBlock, values_ - first))))
      sound = false;
  });
  if (!enough) return no_memory(values_);
  if (!sound) return fail(ErrorCode::corrupt, "packed state that does not unpack");
  return {};
}

std::uint64_t PackedState::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& block : blocks_) sum += block.size();
  return sum;
}

}  // namespace tern::state
