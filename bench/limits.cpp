// What this machine could do at most, in the units of inference: reading memory and caches, dot
// products in vectors and tiles, and a product of a 4-bit matrix with one vector, which is what
// generating a token is made of.
//
// Built for the machine that it runs on (-march=native). Each figure is the median of some runs,
// with all threads started together; prints one JSON object. usage: tern_limits [THREADS [RUNS]]
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;
using Body = std::function<void(std::size_t thread)>;

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::size_t all_threads = 1, runs = 5;
std::string report;  // JSON members so far
volatile std::uint64_t sink;

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  return cpus;
}

/// Seconds until the last of `threads` pinned threads is done.
double together(std::size_t threads, const Body& body) {
  const auto cpus = usable_cpus();
  std::atomic<std::size_t> ready{0};
  std::vector<double> seconds(threads);
  std::vector<std::thread> pool;
  for (std::size_t i = 0; i < threads; ++i)
    pool.emplace_back([&, i] {
      if (!cpus.empty()) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<std::size_t>(cpus[i % cpus.size()]), &set);
        ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
      }
      ready.fetch_add(1);
      while (ready.load() < threads) {
      }
      const auto start = Clock::now();
      body(i);
      seconds[i] = std::chrono::duration<double>(Clock::now() - start).count();
    });
  for (auto& thread : pool) thread.join();
  return *std::ranges::max_element(seconds);
}

/// Adds "name": {"1": x, "N": y}, in `work` a second; every thread does `work`.
void measure(const char* name, double work, const Body& body) {
  std::string line = std::string(report.empty() ? "" : ",\n  ") + "\"" + name + "\": {";
  std::vector<std::size_t> counts = {1};
  if (all_threads > 1) counts.push_back(all_threads);
  for (const std::size_t threads : counts) {
    together(threads, body);  // warms up
    std::vector<double> rates;
    for (std::size_t i = 0; i < runs; ++i)
      rates.push_back(static_cast<double>(threads) * work / together(threads, body));
    std::ranges::sort(rates);
    char text[64];
    std::snprintf(text, sizeof text, "%s\"%zu\": %.4g", threads == 1 ? "" : ", ", threads,
                  rates[rates.size() / 2]);
    line += text;
  }
  report += line + "}";
}

/// Memory of each thread, noise in pages of the wanted size.
class Memory {
 public:
  Memory(std::size_t each, bool huge) : each_(each), bytes_(each * all_threads) {
    void* p = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) std::abort();
    ::madvise(p, bytes_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    base_ = static_cast<std::uint8_t*>(p);
    together(all_threads, [&](std::size_t thread) {
      std::uint64_t x = 88172645463325252u + thread;
      for (std::size_t i = 0; i < each_; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        std::memcpy(of(thread) + i, &x, 8);
      }
    });
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { ::munmap(base_, bytes_); }

  std::uint8_t* of(std::size_t thread) const { return base_ + thread * each_; }

 private:
  std::size_t each_, bytes_;
  std::uint8_t* base_;
};

#if defined(__AVX512F__)
constexpr std::size_t kVector = 64;
#else
constexpr std::size_t kVector = 32;
#endif
typedef std::uint64_t Words __attribute__((vector_size(kVector)));
typedef float Floats __attribute__((vector_size(kVector)));

void read_all(const std::uint8_t* p, std::size_t bytes) {
  Words sums[8] = {};
  for (std::size_t i = 0; i + 8 * kVector <= bytes; i += 8 * kVector)
    for (std::size_t k = 0; k < 8; ++k)
      sums[k] ^= *reinterpret_cast<const Words*>(p + i + kVector * k);
  for (std::size_t k = 1; k < 8; ++k) sums[0] ^= sums[k];
  sink = sums[0][0];
}

void reading() {
  constexpr std::size_t kLarge = 512 * kMiB;
  const auto read = [](const char* name, const Memory& memory, std::size_t bytes) {
    const std::size_t rounds = std::max<std::size_t>(1, kLarge / bytes);
    measure(name, static_cast<double>(bytes * rounds) * 1e-9, [&, rounds](std::size_t thread) {
      for (std::size_t i = 0; i < rounds; ++i) read_all(memory.of(thread), bytes);
    });
  };
  const Memory huge(kLarge, true);
  read("read_memory_GBs", huge, kLarge);
  read("read_L3_8MiB_GBs", huge, 8 * kMiB);
  read("read_L2_512KiB_GBs", huge, kMiB / 2);
  read("read_L1_16KiB_GBs", huge, kMiB / 64);
  const Memory small(kLarge, false);
  read("read_memory_4KiB_pages_GBs", small, kLarge);
}

constexpr std::size_t kSteps = 4000000;  // of each peak, with 12 independent accumulators
constexpr std::size_t kSums = 12;

/// Keeps the compiler from reasoning about a register.
template <class T>
inline void opaque(T& x) {
#if defined(__x86_64__)
  asm volatile("" : "+v"(x));
#else
  asm volatile("" : "+w"(x));
#endif
}

template <class T, class Step>
void peak(const char* name, double work, const Step& step) {
  measure(name, work * kSums * kSteps * 1e-9, [&](std::size_t) {
    T sums[kSums] = {}, a = {}, b = {};
    opaque(a), opaque(b);
    for (std::size_t i = 0; i < kSteps; ++i)
      for (T& sum : sums) {
        sum = step(sum, a, b);
        opaque(sum);
      }
  });
}

void vectors() {
  peak<Floats>("fp32_fma_GFLOPs", 2.0 * kVector / 4,
               [](Floats sum, Floats a, Floats b) { return a * b + sum; });
#if defined(__AVX512VNNI__)
  peak<__m512i>("int16_dot_GOPs", 64,
                [](__m512i sum, __m512i a, __m512i b) { return _mm512_dpwssd_epi32(sum, a, b); });
  peak<__m512i>("int8_dot_GOPs", 128,
                [](__m512i sum, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(sum, a, b); });
#elif defined(__AVX2__)
  peak<__m256i>("int16_dot_GOPs", 32, [](__m256i sum, __m256i a, __m256i b) {
    opaque(a);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  });
  peak<__m256i>("int8_dot_GOPs", 64, [](__m256i sum, __m256i a, __m256i b) {
    opaque(a);
    const __m256i pairs = _mm256_maddubs_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  });
#endif
#if defined(__AVX512BF16__)
  peak<__m512>("bf16_dot_GFLOPs", 64, [](__m512 sum, __m512 a, __m512 b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  });
#endif
}

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

void tiles_on() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) config.row_bytes[i] = 64, config.rows[i] = 16;
  asm volatile("" ::"r"(&config) : "memory");  // g++ 12 would drop the stores
  _tile_loadconfig(&config);
  _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
  _tile_zero(4), _tile_zero(5), _tile_zero(6), _tile_zero(7);
}

void tiles() {
  constexpr long kRequestTileData = 0x1023, kTileData = 18;
  if (::syscall(SYS_arch_prctl, kRequestTileData, kTileData) != 0) return;
  measure("amx_bf16_GFLOPs", kSteps * 4 * 2.0 * 16 * 16 * 32 * 1e-9, [](std::size_t) {
    tiles_on();
    for (std::size_t i = 0; i < kSteps; ++i) {
      _tile_dpbf16ps(0, 4, 6), _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6), _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
  });
  measure("amx_int8_GOPs", kSteps * 4 * 2.0 * 16 * 16 * 64 * 1e-9, [](std::size_t) {
    tiles_on();
    for (std::size_t i = 0; i < kSteps; ++i) {
      _tile_dpbusd(0, 4, 6), _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6), _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
  });
}

#else
void tiles() {}
#endif

#if (defined(__AVX512VNNI__) && defined(__AVX512BW__)) || defined(__AVX2__)

/// Sixteen outputs and 32 inputs: 256 bytes of 4-bit weights, four inputs of an output in the low
/// (or high) halves of four bytes, and 16 scales in f16; 4.5 bits a weight.
constexpr std::size_t kPanelBlock = 288, kInputs = 2688;

/// Sixteen dot products; x in int8 with a scale for 32, `sums` of 8 x each 32 for the offset of the
/// weights.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
float panel(const std::uint8_t* w, const std::int8_t* x, const float* scales,
            const std::int32_t* sums) {
  const __m512i low = _mm512_set1_epi8(15);
  __m512 total = _mm512_setzero_ps();
  for (std::size_t k = 0; k < kInputs / 32; ++k, w += kPanelBlock) {
    __m512i even = _mm512_set1_epi32(sums[k]), odd = _mm512_setzero_si512();
    for (std::size_t r = 0; r < 4; ++r) {
      const __m512i both = _mm512_loadu_si512(w + 64 * r);
      std::int32_t x4[2];
      std::memcpy(x4, x + 32 * k + 8 * r, sizeof x4);
      even = _mm512_dpbusd_epi32(even, _mm512_and_si512(both, low), _mm512_set1_epi32(x4[0]));
      odd = _mm512_dpbusd_epi32(odd, _mm512_and_si512(_mm512_srli_epi16(both, 4), low),
                                _mm512_set1_epi32(x4[1]));
    }
    const __m512 scale =
        _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 256)));
    total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)),
                            _mm512_mul_ps(scale, _mm512_set1_ps(scales[k])), total);
  }
  return _mm512_reduce_add_ps(total);
}
#else
__m256i add_products(__m256i sum, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(w, x);  // 2 * 15 * 128 fits 16 bits
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
float panel(const std::uint8_t* w, const std::int8_t* x, const float* scales,
            const std::int32_t* sums) {
  const __m256i low = _mm256_set1_epi8(15);
  __m256 total[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::size_t k = 0; k < kInputs / 32; ++k, w += kPanelBlock)
    for (std::size_t half = 0; half < 2; ++half) {
      __m256i sum = _mm256_set1_epi32(sums[k]);
      for (std::size_t r = 0; r < 4; ++r) {
        const __m256i both =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 64 * r + 32 * half));
        std::int32_t x4[2];
        std::memcpy(x4, x + 32 * k + 8 * r, sizeof x4);
        sum = add_products(sum, _mm256_and_si256(both, low), _mm256_set1_epi32(x4[0]));
        sum = add_products(sum, _mm256_and_si256(_mm256_srli_epi16(both, 4), low),
                           _mm256_set1_epi32(x4[1]));
      }
      const __m256 scale =
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 256 + 16 * half)));
      total[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
                                    _mm256_mul_ps(scale, _mm256_set1_ps(scales[k])), total[half]);
    }
  float lanes[8];
  _mm256_storeu_ps(lanes, _mm256_add_ps(total[0], total[1]));
  return std::accumulate(lanes, lanes + 8, 0.0f);
}
#endif

void matrix_vector() {
  constexpr std::size_t kLarge = 512 * kMiB, kPanel = kInputs / 32 * kPanelBlock;
  const Memory memory(kLarge, true);
  for (std::size_t thread = 0; thread < all_threads; ++thread)  // scales that are finite
    for (std::size_t i = 0; i + kPanelBlock <= kLarge; i += kPanelBlock)
      for (std::size_t c = 0; c < 16; ++c) {
        const std::uint16_t scale = 0x2c00;
        std::memcpy(memory.of(thread) + i + 256 + 2 * c, &scale, 2);
      }
  const std::vector<std::int8_t> x(kInputs, 3);
  const std::vector<float> scales(kInputs / 32, 0.01f);
  const std::vector<std::int32_t> sums(kInputs / 32, -8 * 3 * 32);
  const auto run = [&](const char* name, std::size_t bytes) {
    const std::size_t panels = bytes / kPanel, rounds = std::max<std::size_t>(1, kLarge / bytes);
    measure(name, static_cast<double>(panels * kPanel * rounds) * 1e-9, [&](std::size_t thread) {
      float total = 0;
      for (std::size_t i = 0; i < rounds; ++i)
        for (std::size_t p = 0; p < panels; ++p)
          total += panel(memory.of(thread) + p * kPanel, x.data(), scales.data(), sums.data());
      sink = static_cast<std::uint64_t>(total);
    });
  };
  run("gemv_4bit_memory_GBs", kLarge);
  run("gemv_4bit_L2_512KiB_GBs", kMiB / 2);
}

#else
void matrix_vector() {}
#endif

}  // namespace

int main(int argc, char** argv) {
  all_threads = std::max<std::size_t>(1, usable_cpus().size());
  if (argc > 1) all_threads = std::max(1ul, std::strtoul(argv[1], nullptr, 10));
  if (argc > 2) runs = std::max(1ul, std::strtoul(argv[2], nullptr, 10));
  reading();
  vectors();
  tiles();
  matrix_vector();
  std::printf("{\"threads\": %zu, \"runs\": %zu,\n  %s}\n", all_threads, runs, report.c_str());
}
