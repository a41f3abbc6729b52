// One request's way to its answer: what the API says on any thread, kept until the connection
// takes it on its own. The only state that both sides touch.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "server/http.h"

namespace cadre {

// Told, on any thread, that an exchange has something for its client.
class HttpWakeTarget {
 public:
  virtual ~HttpWakeTarget() = default;
  virtual void Wake() = 0;
};

class HttpExchange final : public HttpReply, public std::enable_shared_from_this<HttpExchange> {
 public:
  HttpExchange(std::weak_ptr<HttpWakeTarget> connection, size_t max_unsent_bytes)
      : connection_(std::move(connection)), max_unsent_bytes_(max_unsent_bytes) {}

  // What a handler is given: when the last copy goes before the answer is complete, the client
  // gets a 500 or, within a stream, the end of its connection.
  std::shared_ptr<HttpReply> Reply();

  void Respond(HttpResponse response) override;
  void StartStream(HttpResponse head) override;
  void Write(std::string piece) override;
  void Finish() override;
  size_t unsent_bytes() const override;
  void OnGone(std::function<void()> gone) override;
  void OnDrained(size_t bytes, std::function<void()> drained) override;

  // Ends an answer that will not come.
  void Abandon();

  // --- For the connection, on its thread ---
  struct Step {
    bool has_head = false;
    bool streams = false;
    HttpResponse head;
    std::string payload;  // of a stream
    bool last = false;    // nothing follows
    bool aborted = false;
  };
  // Moves what has come since the last call into `step`, whose memory it uses again. Returns
  // whether anything has.
  bool Take(Step& step);
  // Whether the answer ends here, unfinished.
  bool aborted() const;
  // Bytes of the payload taken that the client still has not; calls back when they have drained.
  void SetInFlight(size_t bytes);
  // The client has gone: calls back, once. Nothing more is taken or called after this.
  void Gone();

 private:
  enum class Stage { kOpen, kStreaming, kAnswered };

  size_t UnsentLocked() const { return pending_.size() + in_flight_; }
  // Notes that there is something to take, and tells the connection unless it knows.
  void MarkAndUnlock(std::unique_lock<std::mutex>& lock);
  void Respond(std::unique_lock<std::mutex> lock, HttpResponse response, bool streams);

  const std::weak_ptr<HttpWakeTarget> connection_;
  const size_t max_unsent_bytes_;
  mutable std::mutex mutex_;
  Stage stage_ = Stage::kOpen;
  bool gone_ = false;
  bool marked_ = false;
  bool aborted_ = false;
  bool has_head_ = false;
  bool streams_ = false;
  HttpResponse head_;
  std::string pending_;
  size_t in_flight_ = 0;
  size_t drain_bytes_ = 0;
  bool above_ = false;  // unsent bytes have been above drain_bytes_ since the last call
  std::function<void()> on_gone_;
  std::shared_ptr<std::function<void()>> on_drained_;
};

}  // namespace cadre
