#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/huge_memory.h"
#include "base/log.h"
#include "engine/batch_step.h"
#include "engine/scheduler.h"

namespace cadre {
namespace {

int64_t Pages(int64_t positions) { return (positions + kKvBlock - 1) / kKvBlock; }

int64_t ContextLength(const EngineConfig& config, const ModelConfig& model) {
  const int64_t length = config.context_length == 0 ? model.context_length : config.context_length;
  if (length < 1) throw Error("context is {} but must be at least 1", length);
  return length;
}

// Enough for one request in any case, else it could never end.
int64_t MaxPages(const EngineConfig& config, const ModelConfig& model) {
  const int64_t page_bytes = model.kv_shape(config.sequence.kv_type).page_bytes();
  const int64_t one = Pages(ContextLength(config, model)) + 1;
  if (config.kv_bytes > 0) {
    if (config.kv_bytes / page_bytes < one) {
      throw Error("{} bytes for keys and values are less than the {} that one request may need",
                  config.kv_bytes, one * page_bytes);
    }
    return config.kv_bytes / page_bytes;
  }
  const auto quarter = static_cast<int64_t>(AvailableMemory() / 4) / page_bytes;
  return std::max(one, std::min(quarter, one * config.max_running));
}

AnswerLimits Limits(const EngineConfig& config, const ModelConfig& model,
                    const Tokenizer& tokenizer) {
  AnswerLimits limits;
  limits.eos_ids = model.eos_ids;
  if (tokenizer.eos_id() >= 0) limits.eos_ids.push_back(tokenizer.eos_id());
  limits.context_length = ContextLength(config, model);
  limits.num_sampled_ids = std::min<int64_t>(tokenizer.vocab_size(), model.vocab_size);
  return limits;
}

SchedulerConfig Schedule(const EngineConfig& config, const ModelConfig& model) {
  SchedulerConfig schedule;
  schedule.max_running = config.max_running;
  schedule.step_tokens = std::max(config.step_tokens, config.max_running);
  schedule.window = model.sliding_window;
  schedule.max_draft = config.speculation ? schedule.max_draft : 0;
  return schedule;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const Model& model, ExpertSource& experts, Device& device, const Tokenizer& tokenizer,
       const EngineConfig& config)
      : model_(model),
        tokenizer_(tokenizer),
        config_(config),
        limits_(Limits(config, model.config, tokenizer)),
        pages_(model.config.kv_shape(config.sequence.kv_type), MaxPages(config, model.config),
               config.prefix_cache),
        scheduler_(Schedule(config, model.config), pages_),
        experts_(experts),
        step_(model, experts, device, config.sequence),
        thread_([this] { Work(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = quitting_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  Submission Submit(Request asked, RequestCallback callback) {
    Check(asked);
    auto request = std::make_unique<ActiveRequest>(std::move(asked), std::move(callback), limits_,
                                                   tokenizer_, pages_);
    const std::lock_guard lock(mutex_);
    if (stopping_) return {Admission::kStopping, 0};
    if (num_active_ >= config_.max_running + config_.max_queued) {
      ++stats_.refused;
      return {Admission::kQueueFull, 0};
    }
    request->id = ++last_id_;
    ++stats_.requests;
    ++num_active_;
    inbox_.push_back(std::move(request));
    wake_.notify_all();
    return {Admission::kAdmitted, last_id_};
  }

  void Cancel(RequestId id) {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
    wake_.notify_all();
  }

  void SetPaused(RequestId id, bool paused) {
    const std::lock_guard lock(mutex_);
    paused_.emplace_back(id, paused);
    wake_.notify_all();
  }

  void Drain(double timeout_s) {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    const auto is_empty = [&] { return num_active_ == 0; };
    if (idle_.wait_for(lock, std::chrono::duration<double>(timeout_s), is_empty)) return;
    cancels_all_ = true;
    wake_.notify_all();
    idle_.wait(lock, is_empty);
  }

  EngineStats stats() const {
    const std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.queued = std::max<int64_t>(0, num_active_ - stats.running);
    return stats;
  }
  int64_t context_length() const { return limits_.context_length; }

 private:
  void Check(const Request& request) const {
    if (request.prompt_ids.empty()) throw Error("the prompt is empty but must have a token");
    if (std::ssize(request.prompt_ids) > limits_.context_length) {
      throw Error("the prompt is {} tokens but the context is {}", request.prompt_ids.size(),
                  limits_.context_length);
    }
    for (const int32_t id : request.prompt_ids) {
      if (id < 0 || id >= model_.config.vocab_size)
        throw Error("token id is {} but must be from 0 to {}", id, model_.config.vocab_size - 1);
    }
    if (request.max_tokens < 0)
      throw Error("the number of tokens is {} but must be 0 or more", request.max_tokens);
    const int64_t most =
        config_.max_experts > 0 ? config_.max_experts : model_.config.router.num_experts;
    if (request.experts_per_token < 0 || request.experts_per_token > most) {
      throw Error("experts per token is {} but must be from 1 to {}", request.experts_per_token,
                  most);
    }
    if (!(request.min_expert_prob >= 0 && request.min_expert_prob <= 1)) {
      throw Error("the least probability of an expert is {} but must be from 0 to 1",
                  request.min_expert_prob);
    }
  }

  void Work() {
    while (TakeMail()) {
      std::vector<StepPart> plan;
      try {
        plan = scheduler_.Plan(times_);
      } catch (const std::bad_alloc&) {
        Fail(*scheduler_.All().front(), "there is no memory for keys and values");
        continue;
      }
      if (!plan.empty()) RunStep(plan);
    }
    for (ActiveRequest* request : scheduler_.All()) End(*request, FinishReason::kCancelled);
  }

  // Waits until there is something to do. Returns false when the engine ends.
  bool TakeMail() {
    std::vector<std::unique_ptr<ActiveRequest>> arrived;
    std::vector<RequestId> cancelled;
    std::vector<std::pair<RequestId, bool>> paused;
    bool cancels_all = false;
    bool goes_on = true;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] {
        return quitting_ || cancels_all_ || !inbox_.empty() || !cancelled_.empty() ||
               !paused_.empty() || has_work_;
      });
      arrived.swap(inbox_);
      cancelled.swap(cancelled_);
      paused.swap(paused_);
      cancels_all = std::exchange(cancels_all_, false);
      goes_on = !quitting_;
    }
    for (auto& request : arrived) scheduler_.Add(std::move(request));
    for (const auto& [id, is_paused] : paused) {
      if (ActiveRequest* request = scheduler_.Find(id)) request->paused = is_paused;
    }
    for (const RequestId id : cancelled) {
      if (ActiveRequest* request = scheduler_.Find(id)) End(*request, FinishReason::kCancelled);
    }
    if (cancels_all) {
      for (ActiveRequest* request : scheduler_.All()) End(*request, FinishReason::kCancelled);
    }
    const auto all = scheduler_.All();
    const std::lock_guard lock(mutex_);
    has_work_ = std::any_of(all.begin(), all.end(), [](auto* request) { return !request->paused; });
    return goes_on;
  }

  void RunStep(const std::vector<StepPart>& plan) {
    const Stopwatch watch;
    try {
      step_.Run(plan);
    } catch (const std::exception& error) {
      log::error("a step failed: {}", error.what());
      for (const auto& part : plan) {
        if (!part.request->answer.ended())
          part.request->answer.End(FinishReason::kError, error.what());
      }
    }
    Count(plan, watch.Seconds());
    for (const auto& part : plan) Tell(*part.request);
  }

  void Count(const std::vector<StepPart>& plan, double seconds) {
    int64_t rows = 0;
    bool has_prompt = false;
    const std::lock_guard lock(mutex_);
    for (const auto& part : plan) {
      ActiveRequest& request = *part.request;
      rows += part.all_rows();
      const bool is_prompt = part.rows > 1 || request.answer.num_generated() <= 1;
      has_prompt |= is_prompt;
      if (is_prompt) stats_.prompt_tokens += part.rows;
      stats_.drafted_tokens += std::ssize(request.drafts);
    }
    if (!has_prompt) times_.Add(rows, seconds);
    ++stats_.steps;
    stats_.step_s += seconds;
    stats_.running = scheduler_.num_running();
    stats_.preempted = scheduler_.num_preempted();
    stats_.pages = pages_.max_pages();
    stats_.pages_in_use = pages_.used();
    stats_.pages_cached = pages_.kept();
    stats_.page_bytes = pages_.page_bytes();
    stats_.expert_tokens = step_.expert_rows();
    stats_.experts = experts_.stats();
  }

  void Tell(ActiveRequest& request) {
    if (request.first_token_s == 0 && request.answer.num_generated() > 0)
      request.first_token_s = request.since_submitted.Seconds();
    if (request.answer.ended()) return Finish(request);
    RequestEvent event = request.answer.TakeEvent();
    if (!event.text.empty() || !event.tokens.empty()) request.callback(std::move(event));
  }

  void End(ActiveRequest& request, FinishReason reason) {
    if (!request.answer.ended()) request.answer.End(reason);
    Finish(request);
  }

  void Fail(ActiveRequest& request, const std::string& message) {
    request.answer.End(FinishReason::kError, message);
    Finish(request);
  }

  // The last word; the request is gone then.
  void Finish(ActiveRequest& active) {
    RequestEvent event = active.answer.TakeEvent();
    RequestUsage& usage = event.end->usage;
    usage.cached_tokens = active.usage.cached_tokens;
    usage.drafted_tokens = active.usage.drafted_tokens;
    usage.accepted_tokens = active.usage.accepted_tokens;
    usage.experts_per_token = ExpertsPerToken(active);
    const double now_s = active.since_submitted.Seconds();
    usage.queue_s = active.admitted ? active.admitted_s : now_s;
    const double first_s = active.first_token_s > 0 ? active.first_token_s : now_s;
    usage.prompt_s = active.admitted ? first_s - active.admitted_s : 0;
    usage.generate_s = now_s - first_s;
    for (const double sum : active.hidden_sum) {
      event.end->embedding.push_back(
          static_cast<float>(sum / static_cast<double>(active.num_prompt())));
    }
    if (!active.request.embedding) event.end->embedding.clear();
    const FinishReason reason = event.end->reason;
    const auto request = scheduler_.Remove(active);
    CountEnd(*request, reason);  // before anyone is told, who may look
    request->callback(std::move(event));
    const std::lock_guard lock(mutex_);
    if (--num_active_ == 0) idle_.notify_all();
  }

  void CountEnd(const ActiveRequest& request, FinishReason reason) {
    const std::lock_guard lock(mutex_);
    stats_.running = scheduler_.num_running();
    stats_.pages_in_use = pages_.used();
    stats_.pages_cached = pages_.kept();
    stats_.generated_tokens += request.answer.num_generated();
    stats_.cached_tokens += request.usage.cached_tokens;
    stats_.accepted_tokens += request.usage.accepted_tokens;
    stats_.constraint_s += request.answer.constraint_s();
    ++(reason == FinishReason::kCancelled ? stats_.cancelled
       : reason == FinishReason::kError   ? stats_.failed
                                          : stats_.finished);
  }

  double ExpertsPerToken(const ActiveRequest& request) const {
    if (request.request.min_expert_prob > 0 && request.routed_rows > 0) {
      return static_cast<double>(request.chosen_experts) / static_cast<double>(request.routed_rows);
    }
    return static_cast<double>(request.request.experts_per_token > 0
                                   ? request.request.experts_per_token
                                   : model_.config.router.top_k);
  }

  const Model& model_;
  const Tokenizer& tokenizer_;
  const EngineConfig config_;
  const AnswerLimits limits_;

  // The engine thread's own.
  PageCache pages_;
  Scheduler scheduler_;
  const ExpertSource& experts_;
  BatchStep step_;
  StepTimes times_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::vector<std::unique_ptr<ActiveRequest>> inbox_;
  std::vector<RequestId> cancelled_;
  std::vector<std::pair<RequestId, bool>> paused_;
  EngineStats stats_;
  RequestId last_id_ = 0;
  int64_t num_active_ = 0;  // submitted and not ended
  bool has_work_ = false;
  bool stopping_ = false;
  bool cancels_all_ = false;
  bool quitting_ = false;

  std::thread thread_;
};

Engine::Engine(const Model& model, ExpertSource& experts, Device& device,
               const Tokenizer& tokenizer, const EngineConfig& config)
    : impl_(std::make_unique<Impl>(model, experts, device, tokenizer, config)) {}

Engine::~Engine() = default;

Engine::Submission Engine::Submit(Request request, RequestCallback callback) {
  return impl_->Submit(std::move(request), std::move(callback));
}

void Engine::Cancel(RequestId id) { impl_->Cancel(id); }

void Engine::SetPaused(RequestId id, bool paused) { impl_->SetPaused(id, paused); }

void Engine::Drain(double timeout_s) { impl_->Drain(timeout_s); }

EngineStats Engine::stats() const { return impl_->stats(); }

int64_t Engine::context_length() const { return impl_->context_length(); }

}  // namespace cadre
