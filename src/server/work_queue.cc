#include "server/work_queue.h"

#include <exception>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace cadre {

WorkQueue::WorkQueue(int num_threads) {
  CADRE_CHECK(num_threads > 0);
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

WorkQueue::~WorkQueue() { Stop(); }

void WorkQueue::Post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
  }
  has_work_.notify_one();
}

void WorkQueue::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
  }
  has_work_.notify_all();
  dropped.clear();  // without the lock: tasks may hold anything
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkQueue::Run() {
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      has_work_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    try {
      task();
    } catch (const std::exception& error) {
      log::error("a task of the server failed: {}", error.what());
    }
  }
}

}  // namespace cadre
