#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

namespace tern {
namespace {

TEST(ThreadPool, RunsEveryItemOnceInRangesOfTheGrain) {
  for (const std::size_t threads : {1u, 2u, 3u, 8u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const std::size_t count : {0u, 1u, 2u, 7u, 64u, 1000u})
      for (const std::size_t grain : {0u, 1u, 3u, 64u, 5000u}) {
        std::vector<std::atomic<int>> hits(count);
        pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
          EXPECT_LT(begin, end);
          const std::size_t step = std::max<std::size_t>(grain, 1);
          EXPECT_EQ(begin % step, 0u);
          EXPECT_EQ(end, std::min(count, begin + step));
          for (std::size_t i = begin; i < end; ++i) ++hits[i];
        });
        for (const auto& hit : hits) ASSERT_EQ(hit, 1) << count << " by " << grain;
      }
  }
}

TEST(ThreadPool, AHugeGrainDoesNotWrap) {
  ThreadPool pool(2);
  std::size_t calls = 0;
  pool.parallel_for(5, std::numeric_limits<std::size_t>::max(), [&](std::size_t, std::size_t end) {
    ++calls;
    EXPECT_EQ(end, 5u);
  });
  EXPECT_EQ(calls, 1u);
}

TEST(ThreadPool, ResultsAreVisibleWhenTheLoopReturns) {
  ThreadPool pool(4);
  std::vector<std::size_t> squares(257);
  for (int round = 0; round < 500; ++round) {
    pool.parallel_for(squares.size(), 16, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) squares[i] += i;
    });
  }
  for (std::size_t i = 0; i < squares.size(); ++i) ASSERT_EQ(squares[i], 500 * i);
}

TEST(ThreadPool, LoopsOfSeveralThreadsTakeTurns) {
  ThreadPool pool(3);
  std::atomic<std::size_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        pool.parallel_for(100, 7, [&](std::size_t begin, std::size_t end) { sum += end - begin; });
    });
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, 4u * 50 * 100);
}

TEST(ThreadPool, StartsAndStopsWithoutALoop) {
  for (int round = 0; round < 50; ++round) ThreadPool pool(4);
  EXPECT_GE(ThreadPool::default_threads(), 1u);
  EXPECT_EQ(ThreadPool(0).size(), ThreadPool::default_threads());
}

TEST(ThreadPool, TakesNoCpuWhenItIsIdle) {
  const auto cpu_time = [] {
    timespec time{};
    EXPECT_EQ(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), 0);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  ThreadPool pool(4);
  pool.parallel_for(100, 1, [](std::size_t, std::size_t) {});
  const auto before = cpu_time();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  // Some spinning after the loop is meant: far less than a thread of these 300 ms.
  EXPECT_LT(cpu_time() - before, std::chrono::milliseconds(30));
}

}  // namespace
}  // namespace tern
