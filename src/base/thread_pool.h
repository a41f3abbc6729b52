// A fixed set of threads that run one loop at a time. Work is cut by index, never by thread, so
// what a task computes cannot depend on how many threads there are.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/flush_denormals.h"

namespace cadre {

class ThreadPool {
 public:
  // `num_threads` >= 1 counts the caller. 0: as many as the machine has.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls task(index, thread) for every index in [0, count), each once, in no given order, and
  // returns when all are done. thread in [0, num_threads) names scratch that is the task's own
  // while it runs, and denormal numbers are zero to it, whichever thread it is on. The task must
  // not throw. Not reentrant; one caller at a time.
  template <typename Task>
  void ParallelFor(int64_t count, const Task& task) {
    if (count <= 0) return;
    const FlushDenormals flush;
    if (count == 1 || threads_.empty()) {
      for (int64_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    Run(
        count,
        [](const void* context, int64_t i, int thread) {
          (*static_cast<const Task*>(context))(i, thread);
        },
        &task);
  }

 private:
  using Call = void (*)(const void* context, int64_t index, int thread);
  void Run(int64_t count, Call call, const void* context);
  void Work(int thread);
  bool Join(uint64_t state);
  void TakeIndices(int thread);

  std::vector<std::thread> threads_;
  Call call_ = nullptr;
  const void* context_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<uint64_t> state_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace cadre
