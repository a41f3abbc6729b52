// A few threads that run what must not run on the transport's threads nor on the engine's: parsing,
// tokenizing, compiling of grammars, rendering of answers. First come, first served.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace cadre {

class WorkQueue {
 public:
  explicit WorkQueue(int num_threads);
  ~WorkQueue();  // as Stop
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // Runs `task` on some thread, soon. What it throws is logged and forgotten. Does nothing after
  // Stop.
  void Post(std::function<void()> task);
  // Waits for the tasks that run and drops those that wait. Not from within a task.
  void Stop();

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable has_work_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace cadre
