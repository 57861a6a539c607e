// For tests: floats whose last one is followed by a page that cannot be touched.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

namespace tern::kernels {

class Guarded {
 public:
  explicit Guarded(std::size_t n) : size_(n) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t inside = (n * sizeof(float) + page - 1) / page * page;
    mapped_ = inside + page;
    void* memory =
        ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap");
    base_ = static_cast<std::byte*>(memory);
    if (::mprotect(base_ + inside, page, PROT_NONE) != 0) throw std::runtime_error("mprotect");
    data_ = reinterpret_cast<float*>(base_ + inside) - n;
  }
  Guarded(std::span<const float> values) : Guarded(values.size()) {
    std::memcpy(data_, values.data(), values.size_bytes());
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { ::munmap(base_, mapped_); }

  float* data() { return data_; }
  std::size_t size() const { return size_; }
  std::span<float> span() { return {data_, size_}; }
  float& operator[](std::size_t i) { return data_[i]; }

 private:
  std::size_t size_;
  std::size_t mapped_ = 0;
  std::byte* base_ = nullptr;
  float* data_ = nullptr;
};

/// n normal numbers; the same for the same seed.
inline std::vector<float> normal(std::size_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0.0f, scale);
  std::vector<float> out(n);
  for (float& v : out) v = distribution(random);
  return out;
}

}  // namespace tern::kernels
