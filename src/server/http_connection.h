// One connection's protocol: requests in their order, each answered before the next is looked at,
// with all deadlines and back-pressure. Does no input or output itself: a wire under it moves the
// bytes, so that it can be tested without one. An end of input is a client that has gone, also when
// the client only shut its sending side: clients of this API do not.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "server/http.h"
#include "server/http_access.h"
#include "server/http_config.h"
#include "server/http_exchange.h"
#include "server/http_request_parser.h"

namespace cadre {

// What all connections of a server share.
struct HttpService {
  const HttpLimits limits;
  const HttpAccess access;
  const HttpHandler handler;
  std::atomic<size_t> all_bodies = 0;
  std::atomic<uint64_t> num_requests = 0;
  uint64_t id_seed = 0;  // of the ids made here
};

// All but Wake is called on one thread.
class HttpConnection : public HttpWakeTarget, public std::enable_shared_from_this<HttpConnection> {
 public:
  using Clock = std::chrono::steady_clock;

  HttpConnection(std::shared_ptr<HttpService> service, std::string client);
  ~HttpConnection() override = default;

  // The wire is ready: reads the first request.
  void Open();
  // Something may be there to send.
  void Flush();
  // Looks at the deadlines; to be called a few times within the shortest.
  void Tick(Clock::time_point now);
  // After the answer in progress, if any, the end.
  void Drain();
  // The end, now. The client of an unfinished answer counts as gone.
  void Close();

  // From the wire: what it read, that it cannot read any more, that it wrote, that it cannot.
  void OnRead(std::string_view bytes);
  void OnReadEnd() { Close(); }
  void OnWritten(size_t num_bytes);
  void OnWriteFailed() { Close(); }

  bool closed() const { return phase_ == Phase::kClosed; }

 protected:
  // To the wire. Never answered from within the call. At most one of each is in progress;
  // `bytes` stay until they are written (OnWritten says how many; the rest is given again).
  virtual void StartRead() = 0;
  virtual void StartWrite(std::string_view bytes) = 0;
  virtual void ShutdownSend() = 0;  // no more will be written; the client may still read
  virtual void CloseWire() = 0;

 private:
  enum class Phase { kOpening, kIdle, kHead, kBody, kAnswer, kLinger, kClosed };

  void Enter(Phase phase);
  void MaybeRead();
  void Advance();
  bool AcceptHead();
  void Dispatch();
  void Begin();
  void Refuse(HttpResponse response);
  void AppendStep();
  void FinishAnswer();
  void Log(std::string_view end) const;
  double PhaseLimit() const;

  const std::shared_ptr<HttpService> service_;
  const std::string client_;
  HttpRequestParser parser_;
  Phase phase_ = Phase::kOpening;
  Clock::time_point phase_since_;
  Clock::time_point request_since_;
  Clock::time_point progress_at_;  // when the client last took a byte, or one was first offered
  bool reading_ = false;
  bool writing_ = false;
  bool draining_ = false;
  bool close_after_ = false;  // the answer in progress is the last one
  std::string in_;            // read, not parsed yet
  std::string out_;           // being written, from out_begin_
  size_t out_begin_ = 0;
  size_t out_payload_ = 0;  // bytes at the end of out_ that are the API's

  // Of the request in progress.
  HttpRequest request_;
  std::string method_;
  std::string path_;
  std::string request_id_;
  std::shared_ptr<HttpExchange> exchange_;
  HttpExchange::Step step_;
  bool answer_last_ = false;  // all of the answer is in out_
  bool chunked_ = false;
  bool bodyless_ = false;
  int status_ = 0;
  size_t bytes_sent_ = 0;
};

}  // namespace cadre
