// Numbers that come out the same on every platform: random bits, and exp for sampling weights.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

namespace tern::engine {

/// xoshiro256** 1.0, seeded by SplitMix64.
/// Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021.
class Random {
 public:
  explicit Random(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15u;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
      word = z ^ (z >> 31);
    }
  }

  std::uint64_t bits() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

 private:
  std::array<std::uint64_t, 4> state_{};
};

/// exp(x) for x <= 0 (-inf included), within 2 ulp, 0 below -708. Only additions and
/// multiplications in a fixed order, so every IEEE machine and C library gives the same bits.
inline double exp_nonpositive(double x) {
  if (!(x >= -708.0)) return 0.0;
  // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first exact when multiplied by n.
  constexpr double kLog2e = 1.4426950408889634074, kLn2High = 0x1.62e42fee00000p-1,
                   kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRound = 0x1.8p52;  // adding it rounds to an integer
  const double n = (x * kLog2e + kRound) - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1.0 / 6227020800.0;  // Taylor to r^13 / 13!: the rest is below 2^-60
  constexpr std::array<double, 13> kInverseFactorials = {1.0 / 479001600.0,
                                                         1.0 / 39916800.0,
                                                         1.0 / 3628800.0,
                                                         1.0 / 362880.0,
                                                         1.0 / 40320.0,
                                                         1.0 / 5040.0,
                                                         1.0 / 720.0,
                                                         1.0 / 120.0,
                                                         1.0 / 24.0,
                                                         1.0 / 6.0,
                                                         1.0 / 2.0,
                                                         1.0,
                                                         1.0};
  for (const double coefficient : kInverseFactorials) sum = sum * r + coefficient;
  const auto exponent = static_cast<std::int64_t>(n) + 1023;
  return sum * std::bit_cast<double>(static_cast<std::uint64_t>(exponent) << 52);
}

}  // namespace tern::engine
