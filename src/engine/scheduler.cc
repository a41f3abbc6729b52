#include "engine/scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

// A request whose beginning another is just running waits for that, if it saves more than so many
// tokens.
constexpr int64_t kWorthWaiting = 32;

int64_t Pages(int64_t positions) { return (positions + kKvBlock - 1) / kKvBlock; }

}  // namespace

void Scheduler::Add(std::unique_ptr<ActiveRequest> request) {
  waiting_.push_back(std::move(request));
}

ActiveRequest* Scheduler::Find(RequestId id) {
  for (auto* list : {&running_, &waiting_}) {
    for (auto& request : *list) {
      if (request->id == id) return request.get();
    }
  }
  return nullptr;
}

std::unique_ptr<ActiveRequest> Scheduler::Remove(ActiveRequest& request) {
  plan_.clear();
  for (auto* list : {&running_, &waiting_}) {
    for (auto it = list->begin(); it != list->end(); ++it) {
      if (it->get() != &request) continue;
      auto removed = std::move(*it);
      list->erase(it);
      removed->chain.Release();
      return removed;
    }
  }
  CADRE_CHECK(false);
}

std::vector<ActiveRequest*> Scheduler::All() {
  std::vector<ActiveRequest*> all;
  for (auto* list : {&running_, &waiting_}) {
    for (auto& request : *list) all.push_back(request.get());
  }
  return all;
}

const std::vector<StepPart>& Scheduler::Plan(const StepTimes& times) {
  plan_.clear();
  PlanGeneration(times);
  PlanPrompts();
  Admit();
  return plan_;
}

int64_t Scheduler::RowsLeft() const {
  int64_t rows = 0;
  int64_t generating = 0;
  for (const auto& part : plan_) {
    rows += part.all_rows();
    if (!part.request->in_prompt()) ++generating;
  }
  const int64_t most =
      generating > 0 ? generating + config_.shared_step_tokens : config_.step_tokens;
  return std::max<int64_t>(0, std::min(most, config_.step_tokens) - rows);
}

void Scheduler::PlanGeneration(const StepTimes& times) {
  // Preemption changes the list: what is still there is looked up by position.
  std::vector<ActiveRequest*> generating;
  for (const auto& request : running_) {
    request->drafts.clear();
    if (!request->paused && request->to_run() == 1) generating.push_back(request.get());
  }
  for (ActiveRequest* request : generating) {
    if (RowsLeft() == 0 && !plan_.empty() && std::ssize(plan_) >= config_.step_tokens) return;
    const bool is_running = std::any_of(running_.begin(), running_.end(),
                                        [&](const auto& other) { return other.get() == request; });
    if (!is_running || !ReserveFor(*request, std::ssize(request->ids))) continue;
    plan_.push_back({request, 1});
  }
  if (config_.max_draft == 0) return;
  int64_t rows = std::ssize(plan_);
  for (const auto& part : plan_) {
    ActiveRequest& request = *part.request;
    const int64_t room = std::min(config_.step_tokens - rows,
                                  request.request.max_tokens - request.answer.num_generated() - 1);
    int64_t best = BestDraft(times, rows - 1, request.draft_record.acceptance(), config_.max_draft);
    if (best == 0 && request.draft_record.IsDue()) best = 1;
    const auto draft = LookUpDraft(request.ids, std::min(best, room));
    if (draft.empty() || !request.chain.Reserve(std::ssize(request.ids) + std::ssize(draft))) {
      request.draft_record.Skip();
      continue;
    }
    request.drafts.assign(draft.begin(), draft.end());
    rows += std::ssize(draft);
  }
}

void Scheduler::PlanPrompts() {
  std::vector<ActiveRequest*> prompts;
  for (const auto& request : running_) {
    if (!request->paused && request->to_run() > 1) prompts.push_back(request.get());
  }
  for (ActiveRequest* request : prompts) {
    const int64_t rows = std::min(RowsLeft(), request->to_run());
    if (rows == 0) return;
    const bool is_running = std::any_of(running_.begin(), running_.end(),
                                        [&](const auto& other) { return other.get() == request; });
    if (!is_running || !ReserveFor(*request, request->chain.committed() + rows)) continue;
    plan_.push_back({request, rows});
  }
}

void Scheduler::Admit() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (RowsLeft() == 0) return;
    ActiveRequest& request = **it;
    if (request.paused || SharesWithRunning(request)) {
      ++it;
      continue;
    }
    if (num_running() >= config_.max_running || (!running_.empty() && !Fits(request))) {
      if (!PreemptPaused()) return;
      continue;
    }
    if (!request.needs_whole_prompt()) {
      const int64_t known =
          request.chain.Begin(request.ids, std::ssize(request.ids) - 1, config_.window);
      if (!request.admitted)
        request.usage.cached_tokens = std::min(known, request.num_prompt() - 1);
    }
    const int64_t rows = std::min(RowsLeft(), request.to_run());
    if (!request.chain.Reserve(request.chain.committed() + rows)) {
      CADRE_CHECK(!running_.empty());
      request.chain.Release();
      return;
    }
    if (!request.admitted) request.admitted_s = request.since_submitted.Seconds();
    request.admitted = true;
    running_.splice(running_.end(), waiting_, it++);
    plan_.push_back({&request, rows});
  }
}

// What another computes now will be known in a moment.
bool Scheduler::SharesWithRunning(const ActiveRequest& request) const {
  if (request.needs_whole_prompt()) return false;
  int64_t known = -1;
  for (const auto& other : running_) {
    if (other->paused || !other->in_prompt()) continue;
    const auto end = std::min(request.ids.size() - 1, other->ids.size());
    const auto common =
        std::mismatch(request.ids.begin(), request.ids.begin() + static_cast<std::ptrdiff_t>(end),
                      other->ids.begin())
            .first -
        request.ids.begin();
    if (common <= kWorthWaiting) continue;
    if (known < 0) known = cache_->KnownPrefix(request.ids);
    if (common - known > kWorthWaiting) return true;
  }
  return false;
}

// With a page to spare for each that runs, so that they do not push each other out at once.
bool Scheduler::Fits(const ActiveRequest& request) const {
  const int64_t needed = Pages(std::ssize(request.ids) + 1);
  int64_t coming = 0;  // of prompts that are not through
  for (const auto& other : running_) {
    const int64_t pages = Pages(std::ssize(other->ids) + 1) - Pages(other->chain.committed());
    coming += std::max<int64_t>(pages, 0);
  }
  return needed + coming <= cache_->available();
}

bool Scheduler::ReserveFor(ActiveRequest& request, int64_t end) {
  while (!request.chain.Reserve(end)) {
    // The last to come, paused ones before all others.
    ActiveRequest* victim = running_.back().get();
    for (const auto& other : running_) {
      if (other->paused) victim = other.get();
    }
    CADRE_CHECK(running_.size() > 1);
    Preempt(*victim);
    if (victim == &request) return false;
  }
  return true;
}

bool Scheduler::PreemptPaused() {
  for (const auto& request : running_) {
    if (!request->paused) continue;
    Preempt(*request);
    return true;
  }
  return false;
}

void Scheduler::Preempt(ActiveRequest& request) {
  std::erase_if(plan_, [&](const StepPart& part) { return part.request == &request; });
  const auto it = std::find_if(running_.begin(), running_.end(),
                               [&](const auto& other) { return other.get() == &request; });
  request.chain.Release();
  request.drafts.clear();
  waiting_.splice(waiting_.begin(), running_, it);
  ++num_preempted_;
}

}  // namespace cadre
