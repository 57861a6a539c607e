// A fixed set of threads that run one loop at a time.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tern {

/// Not re-entrant: a loop body must not start a loop on the same pool. Loops from several threads
/// wait for each other.
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

  std::mutex callers_;  // one loop at a time
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Loop* loop_ = nullptr;        // guarded by mutex_
  std::size_t generation_ = 0;  // guarded by mutex_; counts loops
  std::size_t busy_ = 0;        // guarded by mutex_; workers inside the loop
  bool stop_ = false;           // guarded by mutex_
  std::vector<std::thread> workers_;
};

}  // namespace tern
