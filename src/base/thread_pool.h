// A fixed set of threads that run one loop at a time.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tern {

/// Not re-entrant: a loop body must not start a loop on the same pool. Loops from several threads
/// wait for each other. A thread that waits first spins for some 50 microseconds, as the next loop
/// of a forward pass is never far, and then sleeps.
class ThreadPool {
 public:
  /// `threads` workers in all, the caller of a loop included; 0 means default_threads().
  explicit ThreadPool(std::size_t threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t size() const { return workers_.size() + 1; }

  /// Calls `body(begin, end)` for disjoint ranges that cover [0, count), each of `grain` items
  /// (the last may be shorter), on all threads; returns when all are done. Which thread runs which
  /// range is not fixed, so a body must not let its result depend on it. `body` must not throw.
  void parallel_for(std::size_t count, std::size_t grain,
                    const std::function<void(std::size_t, std::size_t)>& body);

  /// CPUs that this process may run on, honouring affinity masks.
  static std::size_t default_threads();

 private:
  struct Loop;
  void work();
  static void run(Loop& loop);
  bool enter(std::uint64_t seen);
  void leave();
  bool has_loop(std::uint64_t seen) const;

  std::mutex callers_;    // one loop at a time
  Loop* loop_ = nullptr;  // written while no worker is inside, read by those that entered
  /// Loops so far, times kLoop; kOpen while workers may enter the last one; workers inside it.
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::size_t> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::size_t spins_;
  std::mutex mutex_;  // of sleep
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
};

}  // namespace tern
