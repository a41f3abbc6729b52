// Which requests share the next step, and how many rows each gets. First come, first served: those
// that generate get their row each step, prompts fill what is left in the order of their coming,
// and when pages run out the last to come waits again (it is run anew later, from what is still
// known). Runs nothing itself. Not thread-safe.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "engine/active_request.h"

namespace cadre {

struct SchedulerConfig {
  int64_t max_running = 64;
  int64_t step_tokens = 512;
  // Rows of prompts in a step in which others generate: those should not wait for long.
  int64_t shared_step_tokens = 128;
  int64_t window = 0;     // keys a query sees; 0: all
  int64_t max_draft = 8;  // guessed tokens a request; 0: none
};

class Scheduler {
 public:
  Scheduler(const SchedulerConfig& config, PageCache& cache) : config_(config), cache_(&cache) {}

  void Add(std::unique_ptr<ActiveRequest> request);
  // Null when there is none such.
  ActiveRequest* Find(RequestId id);
  // Takes the request out, wherever it is, and gives its pages back.
  std::unique_ptr<ActiveRequest> Remove(ActiveRequest& request);
  std::vector<ActiveRequest*> All();

  // Pages are reserved for every part. Empty: nothing can run now (no request, or all are paused).
  // `times` decides on drafts. Valid until the next change.
  const std::vector<StepPart>& Plan(const StepTimes& times);

  int64_t num_waiting() const { return std::ssize(waiting_); }
  int64_t num_running() const { return std::ssize(running_); }
  int64_t num_preempted() const { return num_preempted_; }

 private:
  using Requests = std::list<std::unique_ptr<ActiveRequest>>;

  void PlanGeneration(const StepTimes& times);
  void PlanPrompts();
  void Admit();
  bool SharesWithRunning(const ActiveRequest& request) const;
  bool Fits(const ActiveRequest& request) const;
  int64_t RowsLeft() const;
  // Makes room for the part's rows; others, or the request itself, may have to wait for it.
  bool ReserveFor(ActiveRequest& request, int64_t end);
  void Preempt(ActiveRequest& request);
  bool PreemptPaused();

  SchedulerConfig config_;
  PageCache* cache_;
  Requests waiting_;
  Requests running_;  // in order of admission
  std::vector<StepPart> plan_;
  int64_t num_preempted_ = 0;
};

}  // namespace cadre
