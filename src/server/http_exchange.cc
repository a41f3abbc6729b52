#include "server/http_exchange.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "server/error_body.h"

namespace cadre {
namespace {

void Call(const std::function<void()>& callback) {
  if (!callback) return;
  try {
    callback();
  } catch (const std::exception& error) {
    log::error("a callback of an answer failed: {}", error.what());
  }
}

}  // namespace

std::shared_ptr<HttpReply> HttpExchange::Reply() {
  return {this, [self = shared_from_this()](HttpReply*) { self->Abandon(); }};
}

void HttpExchange::MarkAndUnlock(std::unique_lock<std::mutex>& lock) {
  const bool known = std::exchange(marked_, true) && !aborted_;
  lock.unlock();
  if (known) return;
  if (const auto connection = connection_.lock()) connection->Wake();
}

void HttpExchange::Respond(std::unique_lock<std::mutex> lock, HttpResponse response, bool streams) {
  if (gone_ || stage_ != Stage::kOpen) return;
  stage_ = streams ? Stage::kStreaming : Stage::kAnswered;
  has_head_ = true;
  streams_ = streams;
  head_ = std::move(response);
  // Dropped outside of the lock: what they hold may call back here.
  const auto gone = streams ? nullptr : std::exchange(on_gone_, nullptr);
  const auto drained = streams ? nullptr : std::exchange(on_drained_, nullptr);
  MarkAndUnlock(lock);
}

void HttpExchange::Respond(HttpResponse response) {
  Respond(std::unique_lock(mutex_), std::move(response), false);
}

void HttpExchange::StartStream(HttpResponse head) {
  Respond(std::unique_lock(mutex_), std::move(head), true);
}

void HttpExchange::Write(std::string piece) {
  std::unique_lock lock(mutex_);
  if (gone_ || aborted_ || stage_ == Stage::kAnswered || piece.empty()) return;
  CADRE_CHECK(stage_ == Stage::kStreaming);
  if (pending_.empty()) {
    pending_.swap(piece);
  } else {
    pending_ += piece;
  }
  if (UnsentLocked() > drain_bytes_) above_ = true;
  if (UnsentLocked() > max_unsent_bytes_) aborted_ = true;
  MarkAndUnlock(lock);
}

void HttpExchange::Finish() {
  std::unique_lock lock(mutex_);
  if (gone_ || stage_ == Stage::kAnswered) return;
  CADRE_CHECK(stage_ == Stage::kStreaming);
  stage_ = Stage::kAnswered;
  const auto gone = std::exchange(on_gone_, nullptr);
  const auto drained = std::exchange(on_drained_, nullptr);
  MarkAndUnlock(lock);
}

void HttpExchange::Abandon() {
  std::unique_lock lock(mutex_);
  if (gone_ || stage_ == Stage::kAnswered) return;
  if (stage_ == Stage::kOpen) {
    return Respond(std::move(lock), ErrorResponse(500, "the request was not answered"), false);
  }
  aborted_ = true;
  MarkAndUnlock(lock);
}

size_t HttpExchange::unsent_bytes() const {
  const std::lock_guard lock(mutex_);
  return UnsentLocked();
}

void HttpExchange::OnGone(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      if (stage_ != Stage::kAnswered) on_gone_.swap(gone);
      return;
    }
  }
  Call(gone);
}

void HttpExchange::OnDrained(size_t bytes, std::function<void()> drained) {
  auto callback = std::make_shared<std::function<void()>>(std::move(drained));
  const std::lock_guard lock(mutex_);
  if (gone_ || stage_ == Stage::kAnswered) return;
  drain_bytes_ = bytes;
  above_ = UnsentLocked() > bytes;
  on_drained_.swap(callback);
}

bool HttpExchange::Take(Step& step) {
  const std::lock_guard lock(mutex_);
  step.payload.clear();
  step.has_head = std::exchange(has_head_, false);
  if (step.has_head) step.head = std::move(head_);
  step.streams = streams_;
  step.aborted = aborted_;
  step.last = stage_ == Stage::kAnswered;
  if (!std::exchange(marked_, false)) return false;
  step.payload.swap(pending_);
  in_flight_ = step.payload.size();
  return true;
}

bool HttpExchange::aborted() const {
  const std::lock_guard lock(mutex_);
  return aborted_;
}

void HttpExchange::SetInFlight(size_t bytes) {
  std::shared_ptr<std::function<void()>> drained;
  {
    const std::lock_guard lock(mutex_);
    in_flight_ = bytes;
    if (!above_ || UnsentLocked() >= std::max<size_t>(drain_bytes_, 1)) return;
    above_ = false;
    drained = on_drained_;
  }
  if (drained) Call(*drained);
}

void HttpExchange::Gone() {
  std::function<void()> gone;
  std::shared_ptr<std::function<void()>> drained;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return;
    gone_ = true;
    gone.swap(on_gone_);
    drained.swap(on_drained_);
    std::string().swap(pending_);
    in_flight_ = 0;
  }
  Call(gone);
}

}  // namespace cadre
