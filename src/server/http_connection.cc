#include "server/http_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "server/error_body.h"
#include "server/http_head_writer.h"
#include "server/http_target.h"

namespace cadre {
namespace {

// Buffers above this are given back between requests.
constexpr size_t kKeptBytes = size_t{16} << 10;

double SecondsBetween(HttpConnection::Clock::time_point from,
                      HttpConnection::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// The client's own id is echoed only when it cannot do harm in a header or a log.
bool IsSaneId(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == ':';
  });
}

std::string RequestId(const HttpHead& head, HttpService& service) {
  if (IsSaneId(head.request_id)) return head.request_id;
  const auto words = Philox(service.id_seed, 0, service.num_requests.fetch_add(1));
  return fmt::format("{:08x}{:08x}", words[0], words[1]);
}

std::string MediaType(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return type;
}

}  // namespace

HttpConnection::HttpConnection(std::shared_ptr<HttpService> service, std::string client)
    : service_(std::move(service)),
      client_(std::move(client)),
      parser_(service_->limits, service_->all_bodies),
      phase_since_(Clock::now()) {}

void HttpConnection::Open() {
  if (closed()) return;
  Enter(Phase::kIdle);
  if (draining_) return Close();
  MaybeRead();
}

void HttpConnection::Enter(Phase phase) {
  phase_ = phase;
  phase_since_ = Clock::now();
}

// While an answer is in progress reading goes on, or the client's end would not be noticed; what it
// sends then waits, up to the length of a header.
void HttpConnection::MaybeRead() {
  if (closed() || reading_ || in_.size() > service_->limits.header_bytes) return;
  reading_ = true;
  StartRead();
}

void HttpConnection::OnRead(std::string_view bytes) {
  reading_ = false;
  if (closed()) return;
  if (phase_ != Phase::kLinger) {
    in_.append(bytes);
    Advance();
  }
  MaybeRead();
}

void HttpConnection::Advance() {
  size_t taken = 0;
  while (phase_ == Phase::kIdle || phase_ == Phase::kHead || phase_ == Phase::kBody) {
    if (phase_ == Phase::kIdle) {
      taken = std::min(in_.find_first_not_of("\r\n", taken), in_.size());
      if (taken == in_.size()) break;
      Begin();
    }
    const size_t now = parser_.Feed(std::string_view(in_).substr(taken));
    taken += now;
    if (parser_.failed()) {
      close_after_ = true;
      in_.clear();
      return Refuse(ErrorResponse(parser_.status(), parser_.problem()));
    }
    if (phase_ == Phase::kHead && parser_.head_done()) {
      in_.erase(0, std::exchange(taken, 0));
      if (!AcceptHead()) return;
    }
    if (parser_.done()) {
      in_.erase(0, std::exchange(taken, 0));
      return Dispatch();
    }
    if (now == 0 || taken == in_.size()) break;
  }
  in_.erase(0, taken);
}

void HttpConnection::Begin() {
  Enter(Phase::kHead);
  request_since_ = phase_since_;
  request_ = {};
  method_ = path_ = "-";
  request_id_.clear();
  close_after_ = answer_last_ = chunked_ = bodyless_ = false;
  status_ = 0;
  bytes_sent_ = 0;
}

// Decides by the header alone; returns whether to go on with the body.
bool HttpConnection::AcceptHead() {
  const HttpHead& head = parser_.head();
  Enter(Phase::kBody);
  method_ = head.method;
  request_id_ = RequestId(head, *service_);
  close_after_ = !head.keep_alive;
  const std::optional<HttpTarget> target = ParseTarget(head.target);
  path_ = target ? target->path : head.target;
  std::optional<HttpResponse> answer =
      target ? service_->access.Answer(head, target->path)
             : ErrorResponse(400, fmt::format("the target '{}' is no path, or has a bad escape",
                                              Printable(head.target)));
  if (answer) {
    close_after_ = close_after_ || !parser_.done();
    Refuse(std::move(*answer));
    return false;
  }
  request_ = {.method = head.method,
              .path = target->path,
              .query = target->query,
              .content_type = MediaType(head.content_type),
              .accept = head.accept,
              .if_none_match = head.if_none_match,
              .body = {},
              .request_id = request_id_,
              .client = client_};
  if (head.expects_continue && head.http11 && !parser_.done() && in_.empty() && !writing_) {
    out_ = "HTTP/1.1 100 Continue\r\n\r\n";
    out_begin_ = out_payload_ = 0;
    writing_ = true;
    progress_at_ = Clock::now();
    StartWrite(out_);
  }
  return true;
}

void HttpConnection::Dispatch() {
  request_.body = parser_.TakeBody();
  Enter(Phase::kAnswer);
  exchange_ = std::make_shared<HttpExchange>(weak_from_this(), service_->limits.unsent_bytes);
  const std::shared_ptr<HttpExchange> exchange = exchange_;
  const std::shared_ptr<HttpReply> reply = exchange->Reply();
  std::string problem = "unknown";
  try {
    service_->handler(std::move(request_), reply);
    return;
  } catch (const std::exception& error) {
    problem = error.what();
  } catch (...) {
  }
  log::error("request {} to {} failed: {}", request_id_, Printable(path_), problem);
  reply->Respond(ErrorResponse(500, "internal error"));
  exchange->Abandon();  // where it had begun to stream
}

void HttpConnection::Refuse(HttpResponse response) {
  if (request_id_.empty()) request_id_ = RequestId(HttpHead(), *service_);
  Enter(Phase::kAnswer);
  exchange_ = std::make_shared<HttpExchange>(std::weak_ptr<HttpWakeTarget>(),
                                             service_->limits.unsent_bytes);
  exchange_->Respond(std::move(response));
  Flush();
}

void HttpConnection::Flush() {
  if (phase_ != Phase::kAnswer || answer_last_) return;
  if (writing_) {
    if (exchange_->aborted()) Close();
    return;
  }
  if (!exchange_->Take(step_)) return;
  if (step_.aborted) return Close();
  AppendStep();
  answer_last_ = step_.last;
  if (out_.empty()) {
    if (answer_last_) FinishAnswer();
    return;
  }
  writing_ = true;
  progress_at_ = Clock::now();
  StartWrite(out_);
}

// Frames what the exchange gave into out_.
void HttpConnection::AppendStep() {
  out_.clear();
  out_begin_ = out_payload_ = 0;
  const HttpHead& head = parser_.head();
  if (step_.has_head) {
    status_ = step_.head.status;
    bodyless_ = HasNoBody(status_) || method_ == "HEAD";
    chunked_ = step_.streams && head.http11 && !HasNoBody(status_);
    const auto framing = HasNoBody(status_) ? HttpFraming::kNone
                         : !step_.streams   ? HttpFraming::kLength
                         : chunked_         ? HttpFraming::kChunked
                                            : HttpFraming::kClose;
    close_after_ = close_after_ || draining_ || framing == HttpFraming::kClose;
    AppendHttpHead(step_.head,
                   {.framing = framing,
                    .http11 = head.http11,
                    .keep_alive = !close_after_,
                    .request_id = request_id_},
                   out_);
    service_->access.AppendHeaders(head, out_);
    out_ += "\r\n";
    if (!step_.streams && !bodyless_) out_ += step_.head.body;
    step_.head = {};
  }
  if (bodyless_) return;
  if (!step_.payload.empty()) {
    if (chunked_) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", step_.payload.size());
    out_ += step_.payload;
    if (chunked_) out_ += "\r\n";
    out_payload_ = step_.payload.size();
  }
  if (step_.last && chunked_) out_ += "0\r\n\r\n";
}

void HttpConnection::OnWritten(size_t num_bytes) {
  if (closed()) return;
  out_begin_ += num_bytes;
  progress_at_ = Clock::now();
  if (exchange_ != nullptr && phase_ == Phase::kAnswer) bytes_sent_ += num_bytes;
  const size_t left = out_.size() - out_begin_;
  if (left == 0) writing_ = false;
  if (exchange_ != nullptr) {
    const auto exchange = exchange_;
    exchange->SetInFlight(std::min(left, out_payload_));
    if (closed()) return;
  }
  if (left > 0) return StartWrite(std::string_view(out_).substr(out_begin_));
  if (phase_ != Phase::kAnswer) return;
  if (answer_last_) return FinishAnswer();
  Flush();
}

void HttpConnection::FinishAnswer() {
  Log("");
  exchange_.reset();
  parser_.Reset();
  if (out_.capacity() > kKeptBytes) std::string().swap(out_);
  if (step_.payload.capacity() > kKeptBytes) std::string().swap(step_.payload);
  if (close_after_ || draining_) {
    // Closing with unread bytes would make the client lose the answer: say that it is the last, and
    // read on for a while.
    Enter(Phase::kLinger);
    in_.clear();
    ShutdownSend();
  } else {
    Enter(Phase::kIdle);
    Advance();
  }
  MaybeRead();
}

double HttpConnection::PhaseLimit() const {
  const HttpLimits& limits = service_->limits;
  switch (phase_) {
    case Phase::kOpening:
    case Phase::kHead:
      return limits.header_s;
    case Phase::kIdle:
      return limits.idle_s;
    case Phase::kBody:
      return limits.body_s + static_cast<double>(parser_.body_bytes()) / limits.body_bytes_per_s;
    case Phase::kLinger:
      return limits.linger_s;
    case Phase::kAnswer:  // the API's time; the client's is looked at as a stall
    case Phase::kClosed:
      break;
  }
  return 1e9;
}

void HttpConnection::Tick(Clock::time_point now) {
  if (closed()) return;
  if (writing_ && SecondsBetween(progress_at_, now) > service_->limits.stall_s) {
    log::debug("{} takes no bytes: closed", client_);
    return Close();
  }
  if (SecondsBetween(phase_since_, now) <= PhaseLimit()) return;
  if (phase_ != Phase::kHead && phase_ != Phase::kBody) return Close();
  close_after_ = true;
  Refuse(ErrorResponse(408, "the request did not come in time"));
}

void HttpConnection::Drain() {
  draining_ = true;
  if (phase_ == Phase::kIdle) Close();
}

void HttpConnection::Close() {
  if (closed()) return;
  const auto exchange = std::exchange(exchange_, nullptr);
  if (exchange != nullptr) Log(", client gone");
  Enter(Phase::kClosed);
  CloseWire();
  if (exchange != nullptr) exchange->Gone();
}

void HttpConnection::Log(std::string_view end) const {
  const auto level = path_ == "/health" ? spdlog::level::debug : spdlog::level::info;
  if (!spdlog::should_log(level)) return;
  spdlog::log(level, "{} {} {} {} bytes {:.3f} s {} {}{}", method_, Printable(path_), status_,
              bytes_sent_, SecondsBetween(request_since_, Clock::now()), client_, request_id_, end);
}

}  // namespace cadre
