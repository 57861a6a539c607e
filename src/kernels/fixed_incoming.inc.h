// How codes of the rows that come next reach the L1 cache. Included before the sums of
// fixed_sums_*.inc.h, with kStage defined: bytes of a buffer for four rows, 0 where rows are
// multiplied in memory.

/// Codes of the next four rows, copied to a buffer while the four before are multiplied: a core
/// follows one run of bytes best, and rows that are read side by side are four. Copied evenly, a
/// little with each row of each unit: requests that come at once hold up everything behind them.
struct Incoming {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;  ///< null: nothing comes

  static constexpr std::size_t kAsked = 2048;  ///< bytes that `from` is behind the requests

  TERN_FIXED __attribute__((always_inline)) static void ask(const std::byte* p) {
#if defined(__x86_64__)
    asm volatile("prefetcht0 %0" ::"m"(*p));  // a builtin would not stay where it is
#else
    __builtin_prefetch(p);
#endif
  }

  /// Eighth `part` of four spans of `bytes` each.
  template <std::size_t bytes>
  TERN_FIXED __attribute__((always_inline)) void move(std::size_t part) const {
    if constexpr (kStage != 0) {
      constexpr std::size_t kAll = 4 * bytes, kLines = (kAll + 63) / 64, kPieces = kAll / 32;
      if (to == nullptr) return;
#pragma GCC unroll 8
      for (std::size_t i = part * kLines / 8; i < (part + 1) * kLines / 8; ++i)
        ask(from + kAsked + 64 * i);
#pragma GCC unroll 8
      for (std::size_t i = part * kPieces / 8; i < (part + 1) * kPieces / 8; ++i) put(32 * i);
      if (part == 7) std::memcpy(to + 32 * kPieces, from + 32 * kPieces, kAll % 32);
    }
  }

  TERN_FIXED __attribute__((always_inline)) void advance(std::size_t step) {
    from += step;
    to += step;
  }

  /// What is left of `bytes` to the end of the rows.
  TERN_FIXED void finish(std::size_t bytes) const {
    if (to == nullptr) return;
    for (std::size_t line = 0; line < bytes; line += 64) ask(from + kAsked + line);
    std::size_t i = 0;
    for (; i + 32 <= bytes; i += 32) put(i);
    std::copy(from + i, from + bytes, to + i);
  }

 private:
  using Vector = char __attribute__((vector_size(32)));
  /// Packed: clang takes a vector type for aligned, whatever its attributes say.
  struct __attribute__((packed, may_alias)) Piece {
    Vector value;
  };

  /// 32 bytes.
  TERN_FIXED __attribute__((always_inline)) void put(std::size_t at) const {
    reinterpret_cast<Piece*>(to + at)->value = reinterpret_cast<const Piece*>(from + at)->value;
  }
};

/// Where no copy is under way.
struct NothingComes {
  template <std::size_t bytes>
  TERN_FIXED __attribute__((always_inline)) void move(std::size_t) const {}
};
