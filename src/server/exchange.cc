#include "server/exchange.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace cadre {
namespace {

// Of one HTTP request at a time: a thousand prompts in one body must not fill the queue for all.
constexpr size_t kMaxInFlight = 64;
// What a slow reader may leave on the way before its requests wait for it.
constexpr size_t kMaxUnsentBytes = 256 << 10;

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Exchange::Exchange(std::shared_ptr<HttpReply> reply, Engine& engine,
                   std::shared_ptr<WorkQueue> queue, std::shared_ptr<ApiMetrics> metrics,
                   std::string route)
    : reply_(std::move(reply)),
      engine_(engine),
      queue_(std::move(queue)),
      metrics_(std::move(metrics)),
      route_(std::move(route)) {}

void Exchange::Attach() {
  reply_->OnGone([weak = weak_from_this()] {
    const std::shared_ptr<Exchange> self = weak.lock();
    if (!self) return;
    self->gone_ = true;
    self->CancelAll();
  });
}

void Exchange::Respond(HttpResponse response) {
  metrics_->CountResponse(route_, response.status);
  done_ = true;
  reply_->Respond(std::move(response));
}

void Exchange::Start(std::vector<Request> requests, std::unique_ptr<AnswerWriter> writer) {
  CADRE_CHECK(!requests.empty());
  requests_ = std::move(requests);
  writer_ = std::move(writer);
  asked_.resize(requests_.size());
  reply_->OnDrained(kMaxUnsentBytes, [weak = weak_from_this()] {
    if (const std::shared_ptr<Exchange> self = weak.lock()) self->PushDrained();
  });
  SubmitMore();
  Work();
}

// On the engine's thread.
void Exchange::Push(size_t index, RequestEvent event) {
  {
    const std::lock_guard lock(mutex_);
    mailbox_.push_back({index, std::move(event), Clock::now()});
    if (std::exchange(scheduled_, true)) return;
  }
  Wake();
}

void Exchange::PushDrained() {
  {
    const std::lock_guard lock(mutex_);
    drained_ = true;
    if (std::exchange(scheduled_, true)) return;
  }
  Wake();
}

void Exchange::Wake() {
  queue_->Post([self = shared_from_this()] { self->Work(); });
}

// Until the mailbox is empty; then the next event schedules it again.
void Exchange::Work() {
  while (true) {
    std::deque<Incoming> incoming;
    bool drained = false;
    {
      const std::lock_guard lock(mutex_);
      incoming.swap(mailbox_);
      drained = std::exchange(drained_, false);
      if (incoming.empty() && !drained) {
        scheduled_ = false;
        return;
      }
    }
    for (Incoming& one : incoming) Handle(std::move(one));
    if (done_) continue;
    const size_t unsent = reply_->unsent_bytes();
    if (unsent > kMaxUnsentBytes) {
      HoldBack(true);
    } else if (drained || paused_) {
      HoldBack(false);
    }
  }
}

void Exchange::Handle(Incoming incoming) {
  Asked& asked = asked_[incoming.index];
  const bool ended = incoming.event.end.has_value();
  if (ended && !std::exchange(asked.ended, true)) --in_flight_;
  if (done_) return;
  Measure(incoming);
  try {
    if (ended && incoming.event.end->reason == FinishReason::kError)
      throw ApiError(500, "the model failed: " + incoming.event.end->error);
    if (ended && incoming.event.end->reason == FinishReason::kCancelled)
      throw ApiError(503, "the server is stopping");
    writer_->Event(incoming.index, std::move(incoming.event), *reply_);
    if (next_ < requests_.size()) {
      SubmitMore();
    } else if (in_flight_ == 0) {
      done_ = true;
      metrics_->CountResponse(route_, 200);
      metrics_->ObserveRequest(Seconds(incoming.when - begin_));
      writer_->End(*reply_);
    }
  } catch (const ApiError& error) {
    Fail(error);
  } catch (const std::exception& error) {
    log::error("{}: {}", route_, error.what());
    Fail(ApiError(500, "the server failed to write the answer"));
  }
}

void Exchange::Measure(const Incoming& incoming) {
  Asked& asked = asked_[incoming.index];
  if (incoming.event.end) metrics_->ObserveQueue(incoming.event.end->usage.queue_s);
  if (incoming.event.tokens.empty() && incoming.event.text.empty()) return;
  if (!std::exchange(asked.has_token, true)) {
    metrics_->ObserveFirstToken(Seconds(incoming.when - begin_));
  } else {
    metrics_->ObserveBetweenTokens(Seconds(incoming.when - asked.last_event));
  }
  asked.last_event = incoming.when;
}

void Exchange::SubmitMore() {
  try {
    while (!done_ && next_ < requests_.size() && in_flight_ < kMaxInFlight && SubmitNext()) {
    }
  } catch (const ApiError& error) {
    Fail(error);
  } catch (const Error& error) {
    Fail(ApiError(400, error.what()));
  }
}

// False when the engine has no room now, but will tell of an end that makes some.
bool Exchange::SubmitNext() {
  const size_t index = next_;
  // The request is copied while more of its kind may find the queue full and be asked again.
  const Engine::Submission submission =
      engine_.Submit(requests_[index], [self = shared_from_this(), index](RequestEvent event) {
        self->Push(index, std::move(event));
      });
  if (submission.admission == Admission::kStopping)
    throw ApiError(503, "the server is stopping", "", "server_stopping");
  if (submission.admission == Admission::kQueueFull) {
    if (in_flight_ > 0) return false;
    throw ApiError(429, "too many requests wait already: try again in a moment", "",
                   "rate_limit_exceeded");
  }
  ++next_;
  ++in_flight_;
  requests_[index] = Request{};
  asked_[index].id = submission.id;
  asked_[index].submitted = true;
  {
    const std::lock_guard lock(mutex_);
    ids_.push_back(submission.id);
  }
  if (gone_) engine_.Cancel(submission.id);
  if (paused_) engine_.SetPaused(submission.id, true);
  if (!std::exchange(began_, true)) writer_->Begin(*reply_);
  return true;
}

void Exchange::HoldBack(bool paused) {
  if (std::exchange(paused_, paused) == paused) return;
  for (const Asked& asked : asked_) {
    if (asked.submitted && !asked.ended) engine_.SetPaused(asked.id, paused);
  }
}

void Exchange::Fail(const ApiError& error) {
  if (std::exchange(done_, true)) return;
  metrics_->CountResponse(route_, error.status());
  CancelAll();
  if (gone_) return;
  if (began_) {
    writer_->Fail(error, *reply_);
  } else {
    reply_->Respond(error.Response());
  }
}

void Exchange::CancelAll() {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    ids = ids_;
  }
  for (const RequestId id : ids) engine_.Cancel(id);
}

}  // namespace cadre
