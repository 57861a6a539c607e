#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <system_error>

namespace tern {
namespace {

constexpr std::uint64_t kOpen = std::uint64_t{1} << 31, kLoop = std::uint64_t{1} << 32;
constexpr std::uint64_t kInside = kOpen - 1;

/// Some 50 microseconds of pauses.
constexpr std::size_t kSpins = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

}  // namespace

struct ThreadPool::Loop {
  std::size_t count, grain;
  const std::function<void(std::size_t, std::size_t)>& body;
  std::atomic<std::size_t> next{0};
};

ThreadPool::ThreadPool(std::size_t threads) {
  if (threads == 0) threads = default_threads();
  spins_ = threads > default_threads() ? 0 : kSpins;  // else it would take the CPU from the others
  workers_.reserve(threads - 1);
  try {
    for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // The system has no more threads to give: those that started do the same work.
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  {
    const std::lock_guard lock(mutex_);  // nobody is between its last look and its sleep
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(Loop& loop) {
  for (;;) {
    const std::size_t begin = loop.next.fetch_add(loop.grain, std::memory_order_relaxed);
    if (begin >= loop.count) return;
    loop.body(begin, std::min(loop.count, begin + loop.grain));
  }
}

void ThreadPool::parallel_for(std::size_t count, std::size_t grain,
                              const std::function<void(std::size_t, std::size_t)>& body) {
  if (count == 0) return;
  grain = std::max<std::size_t>(grain, 1);
  if (workers_.empty() || count <= grain) {
    for (std::size_t begin = 0; begin < count; begin += grain)
      body(begin, std::min(count, begin + grain));
    return;
  }
  const std::lock_guard one_loop(callers_);
  Loop loop{count, grain, body};
  loop_ = &loop;
  state_ = (state_ / kLoop + 1) * kLoop + kOpen;
  if (sleepers_ > 0) {
    {
      const std::lock_guard lock(mutex_);
    }
    wake_.notify_all();
  }
  run(loop);
  state_ &= ~kOpen;  // workers that come later find nothing to do
  for (std::size_t spin = 0; (state_ & kInside) != 0; ++spin) {
    if (spin < spins_) {
      pause();
      continue;
    }
    std::unique_lock lock(mutex_);
    caller_sleeps_ = true;
    done_.wait(lock, [this] { return (state_ & kInside) == 0; });
    caller_sleeps_ = false;
  }
}

/// Whether a loop that is newer than `seen` can be entered.
bool ThreadPool::has_loop(std::uint64_t seen) const {
  const std::uint64_t state = state_;
  return (state & kOpen) != 0 && state / kLoop != seen;
}

/// Counts the calling worker in, if has_loop(seen) is still true.
bool ThreadPool::enter(std::uint64_t seen) {
  std::uint64_t state = state_;
  while ((state & kOpen) != 0 && state / kLoop != seen)
    if (state_.compare_exchange_weak(state, state + 1)) return true;
  return false;
}

void ThreadPool::leave() {
  --state_;
  if (!caller_sleeps_) return;
  {
    const std::lock_guard lock(mutex_);
  }
  done_.notify_one();
}

void ThreadPool::work() {
  std::uint64_t seen = 0;
  for (;;) {
    for (std::size_t spin = 0; !has_loop(seen) && !stop_ && spin < spins_; ++spin) pause();
    if (!has_loop(seen)) {
      std::unique_lock lock(mutex_);
      ++sleepers_;
      wake_.wait(lock, [&] { return stop_ || has_loop(seen); });
      --sleepers_;
    }
    if (stop_) return;
    if (!enter(seen)) continue;
    seen = state_ / kLoop;  // it cannot move on while this worker is inside
    run(*loop_);
    leave();
  }
}

std::size_t ThreadPool::default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0)
    return std::max<std::size_t>(1, static_cast<std::size_t>(CPU_COUNT(&set)));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace tern
