#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <numeric>
#include <thread>

namespace cadre {
namespace {

TEST(ThreadPool, EveryIndexRunsOnceWhateverTheThreads) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<int> hits(static_cast<size_t>(count));
      std::atomic<bool> thread_in_range = true;
      pool.ParallelFor(count, [&](int64_t i, int thread) {
        ++hits[static_cast<size_t>(i)];
        if (thread < 0 || thread >= threads) thread_in_range = false;
      });
      EXPECT_EQ(std::accumulate(hits.begin(), hits.end(), int64_t{0}), count);
      EXPECT_TRUE(std::all_of(hits.begin(), hits.end(), [](int n) { return n == 1; }));
      EXPECT_TRUE(thread_in_range);
    }
  }
}

TEST(ThreadPool, ManyShortLoopsInARow) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  for (int round = 0; round < 5000; ++round) {
    pool.ParallelFor(4, [&](int64_t i, int) { sum += i; });
  }
  EXPECT_EQ(sum, 5000 * 6);
}

TEST(ThreadPool, ThreadsThatSleepAreWoken) {
  using std::chrono::milliseconds;
  ThreadPool pool(2);
  std::array<std::atomic<int>, 2> tasks{};
  int loops = 0;
  for (; loops < 100 && (tasks[0] == 0 || tasks[1] == 0); ++loops) {
    std::this_thread::sleep_for(milliseconds(30));
    pool.ParallelFor(4, [&](int64_t, int thread) {
      ++tasks[static_cast<size_t>(thread)];
      std::this_thread::sleep_for(milliseconds(5));
    });
  }
  EXPECT_GT(tasks[0], 0);
  EXPECT_GT(tasks[1], 0);
  EXPECT_EQ(tasks[0] + tasks[1], 4 * loops);
}

TEST(ThreadPool, DenormalsAreZeroInTasksAndOnlyThere) {
  volatile float smallest = 1.2e-38f;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (const int64_t count : {1, 64}) {
      std::atomic<int64_t> zeros = 0;
      pool.ParallelFor(count, [&](int64_t, int) { zeros += smallest * 0.25f == 0.0f ? 1 : 0; });
      EXPECT_EQ(zeros, count) << threads;
      EXPECT_GT(smallest * 0.25f, 0.0f);
    }
  }
}

}  // namespace
}  // namespace cadre
