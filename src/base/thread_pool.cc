#include "base/thread_pool.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

// Some hundred microseconds: longer than the gap between two operations of a step. A thread that
// sleeps is worth waiting for only rarely: on virtual machines it takes up to milliseconds to wake.
constexpr int kSpins = 16000;
constexpr int kSpinsForThreads = 4000;
constexpr int64_t kSharesPerThread = 4;

// The state of a loop: how many threads but the caller are in it, whether more may join it, its
// number.
constexpr uint64_t kOneThread = 1;
constexpr uint64_t kThreads = 0xffff;
constexpr uint64_t kOpen = 0x10000;
constexpr uint64_t kOneLoop = 0x20000;

uint64_t LoopOf(uint64_t state) { return state / kOneLoop; }

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
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

// Nobody waits for a thread that is still asleep: it finds the loop closed.
void ThreadPool::Run(int64_t count, Call call, const void* context) {
  call_ = call;
  context_ = context;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  state_ = (LoopOf(state_.load(std::memory_order_relaxed)) + 1) * kOneLoop + kOpen;
  if (sleeping_ > 0) {
    { const std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  TakeIndices(0);
  state_.fetch_and(~kOpen, std::memory_order_relaxed);
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kThreads) != 0; ++spins) {
    if (spins < kSpinsForThreads) {
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
  const auto is_new = [&] { return stop_ || LoopOf(state_) != seen; };
  for (;;) {
    for (int spins = 0; !is_new() && spins < kSpins; ++spins) Pause();
    if (!is_new()) {
      std::unique_lock lock(mutex_);
      ++sleeping_;
      wake_.wait(lock, is_new);
      --sleeping_;
    }
    if (stop_) return;
    uint64_t state = state_.load(std::memory_order_relaxed);
    seen = LoopOf(state);
    if (!Join(state)) continue;
    TakeIndices(thread);
    state_.fetch_sub(kOneThread, std::memory_order_release);
  }
}

// False: the loop of this state is closed.
bool ThreadPool::Join(uint64_t state) {
  const uint64_t loop = LoopOf(state);
  while ((state & kOpen) != 0 && LoopOf(state) == loop) {
    if (state_.compare_exchange_weak(state, state + kOneThread, std::memory_order_acquire))
      return true;
  }
  return false;
}

}  // namespace cadre
