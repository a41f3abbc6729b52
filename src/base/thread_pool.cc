#include "base/thread_pool.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

// About ten microseconds: longer than the gap between two operations of a step, shorter than a
// scheduler's slice.
constexpr int kSpins = 4000;
constexpr int64_t kSharesPerThread = 4;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  CADRE_CHECK(num_threads >= 0);
  if (num_threads == 0)
    num_threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 1; i < num_threads; ++i) threads_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    ++generation_;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::Run(int64_t count, Call call, const void* context) {
  call_ = call;
  context_ = context;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  TakeIndices(0);
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

// A share of what is left at a time, at last one by one: where indices are many and small, threads
// do not fight over the counter, and neighbours stay on one thread.
void ThreadPool::TakeIndices(int thread) {
  const int64_t shares = kSharesPerThread * num_threads();
  int64_t begin = next_.load(std::memory_order_relaxed);
  while (begin < count_) {
    const int64_t end = begin + std::max<int64_t>(1, (count_ - begin) / shares);
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    for (int64_t i = begin; i < end; ++i) call_(context_, i, thread);
    begin = next_.load(std::memory_order_relaxed);
  }
}

void ThreadPool::Work(int thread) {
  const FlushDenormals flush;
  uint64_t seen = 0;
  for (;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen && spins < kSpins) {
      ++spins;
      Pause();
    }
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    ++seen;
    if (stop_) return;
    TakeIndices(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace cadre
