// Memory for activations, handed out and taken back like a stack.
#pragma once
#include <cstddef>
#include <span>

#include "base/check.h"
#include "tensor/buffer.h"

namespace tern::model {

/// `reserve` once, then `take` never allocates.
class Scratch {
 public:
  static constexpr std::size_t kAlign = 16;  ///< floats; every span starts at a cache line

  static constexpr std::size_t padded(std::size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

  /// Throws std::bad_alloc. Nothing may be taken at the time.
  void reserve(std::size_t floats) {
    TERN_CHECK(used_ == 0);
    if (floats > memory_.size()) {
      memory_ = Buffer<float>();
      memory_ = Buffer<float>(floats);
    }
  }

  /// Contents are whatever was there before.
  std::span<float> take(std::size_t n) {
    TERN_CHECK(padded(n) <= memory_.size() - used_);
    const std::span<float> out = memory_.span().subspan(used_, n);
    used_ += padded(n);
    return out;
  }

  /// Gives back what was taken during its lifetime.
  class Frame {
   public:
    explicit Frame(Scratch& scratch) : scratch_(scratch), used_(scratch.used_) {}
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;
    ~Frame() { scratch_.used_ = used_; }

   private:
    Scratch& scratch_;
    std::size_t used_;
  };

 private:
  Buffer<float> memory_;
  std::size_t used_ = 0;
};

}  // namespace tern::model
