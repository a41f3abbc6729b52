// One HTTP request whose answer the engine makes: hands its prompts to the engine, a few at a time,
// tells an AnswerWriter what comes, in order and on one thread at a time, lets the engine wait for
// a slow reader, and cancels what a client that went had asked for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/engine.h"
#include "server/api_error.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/work_queue.h"

namespace cadre {

// Turns what the engine tells into an HTTP answer. Called by one thread at a time.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // The first request was admitted.
  virtual void Begin(HttpReply& reply) = 0;
  // Of request `index`, in its order; the last one has an end that is no failure.
  virtual void Event(size_t index, RequestEvent event, HttpReply& reply) = 0;
  // Every request has ended well.
  virtual void End(HttpReply& reply) = 0;
  // After Begin, instead of End.
  virtual void Fail(const ApiError& error, HttpReply& reply) = 0;
};

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  // The engine must live until the work queue has stopped and the transport is gone.
  Exchange(std::shared_ptr<HttpReply> reply, Engine& engine, std::shared_ptr<WorkQueue> queue,
           std::shared_ptr<ApiMetrics> metrics, std::string route);

  // Once, before anything else: from here on a client that goes is noticed.
  void Attach();
  bool gone() const { return gone_; }

  // Asks the engine for all of `requests` and answers through `writer`. Once.
  void Start(std::vector<Request> requests, std::unique_ptr<AnswerWriter> writer);

  // An answer without the engine.
  void Respond(HttpResponse response);

 private:
  using Clock = std::chrono::steady_clock;

  struct Incoming {
    size_t index;
    RequestEvent event;
    Clock::time_point when;
  };

  struct Asked {
    RequestId id = 0;
    bool submitted = false;
    bool ended = false;
    Clock::time_point last_event = {};
    bool has_token = false;
  };

  void Push(size_t index, RequestEvent event);
  void PushDrained();
  void Wake();
  void Work();
  void Handle(Incoming incoming);
  void Measure(const Incoming& incoming);
  void SubmitMore();
  bool SubmitNext();
  void HoldBack(bool paused);
  void Fail(const ApiError& error);
  void CancelAll();

  const std::shared_ptr<HttpReply> reply_;
  Engine& engine_;
  const std::shared_ptr<WorkQueue> queue_;
  const std::shared_ptr<ApiMetrics> metrics_;
  const std::string route_;
  const Clock::time_point begin_ = Clock::now();
  std::atomic<bool> gone_ = false;

  // Touched by one thread at a time: whoever runs Start or Work.
  std::vector<Request> requests_;
  std::unique_ptr<AnswerWriter> writer_;
  std::vector<Asked> asked_;
  size_t next_ = 0;  // the first request that was not submitted
  size_t in_flight_ = 0;
  bool began_ = false;
  bool done_ = false;
  bool paused_ = false;

  std::mutex mutex_;  // of what follows; never held while the engine or the writer is called
  std::deque<Incoming> mailbox_;
  bool drained_ = false;
  bool scheduled_ = true;  // somebody works or will; at first whoever calls Start
  std::vector<RequestId> ids_;
};

}  // namespace cadre
