#include "server/http_loop.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "server/http_wire.h"

namespace cadre {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// A few looks within the shortest deadline.
std::chrono::milliseconds TickOf(const HttpLimits& limits) {
  const double shortest =
      std::min({limits.header_s, limits.body_s, limits.idle_s, limits.stall_s, limits.linger_s});
  return std::chrono::milliseconds(
      static_cast<int64_t>(std::clamp(shortest * 1000 / 4, 5.0, 500.0)));
}

}  // namespace

HttpLoop::HttpLoop(std::shared_ptr<HttpService> service,
                   std::shared_ptr<boost::asio::ssl::context> tls,
                   std::atomic<size_t>& num_connections)
    : work_(boost::asio::make_work_guard(context_)),
      timer_(context_),
      tick_(TickOf(service->limits)),
      service_(std::move(service)),
      tls_(std::move(tls)),
      num_connections_(num_connections) {}

void HttpLoop::Start() {
  boost::asio::post(context_, [this] { Tick(); });
  thread_ = std::thread([this] { Run(); });
}

void HttpLoop::Run() {
  for (;;) {
    try {
      context_.run();
      return;
    } catch (const std::exception& error) {
      // Whatever could be told apart by connection was caught there.
      log::error("the transport goes on after: {}", error.what());
    }
  }
}

void HttpLoop::Adopt(tcp::socket socket) {
  boost::asio::post(context_, [this, moved = std::move(socket)]() mutable {
    if (stopping_) {
      --num_connections_;
      return;
    }
    std::shared_ptr<HttpConnection> connection;
    try {
      connection = MakeWire(std::move(moved), tls_.get(), service_, shared_from_this());
      connections_.insert(connection);
    } catch (const boost::system::system_error&) {  // the client is gone already
      --num_connections_;
      return;
    } catch (const std::exception& error) {
      --num_connections_;
      log::error("a connection could not be set up: {}", error.what());
      return;
    }
    if (draining_) connection->Drain();
    OpenWire(*connection);
  });
}

void HttpLoop::Forget(const std::shared_ptr<HttpConnection>& connection) {
  if (connections_.erase(connection) > 0) --num_connections_;
}

void HttpLoop::Wake(std::shared_ptr<HttpConnection> connection) {
  {
    const std::lock_guard lock(woken_mutex_);
    if (!accepts_wakes_) return;
    woken_.push_back(std::move(connection));
    if (woken_.size() > 1) return;  // the post for the first one is still to run
  }
  boost::asio::post(context_, [this] { FlushWoken(); });
}

void HttpLoop::FlushWoken() {
  {
    const std::lock_guard lock(woken_mutex_);
    flushing_.swap(woken_);
  }
  for (const auto& connection : flushing_) {
    GuardWire(*connection, [&] { connection->Flush(); });
  }
  flushing_.clear();
}

void HttpLoop::Tick() {
  const auto now = HttpConnection::Clock::now();
  visited_.assign(connections_.begin(), connections_.end());  // a walk may end connections
  for (const auto& connection : visited_) {
    GuardWire(*connection, [&] { connection->Tick(now); });
  }
  visited_.clear();
  timer_.expires_after(tick_);
  timer_.async_wait([this](error_code error) {
    if (!error && !stopping_) Tick();
  });
}

void HttpLoop::Drain() {
  boost::asio::post(context_, [this] {
    draining_ = true;
    visited_.assign(connections_.begin(), connections_.end());
    for (const auto& connection : visited_) connection->Drain();
    visited_.clear();
  });
}

void HttpLoop::Stop() {
  boost::asio::post(context_, [this] {
    stopping_ = true;
    CloseAll();
    timer_.cancel();
    {
      const std::lock_guard lock(woken_mutex_);
      accepts_wakes_ = false;
      woken_.clear();
    }
    work_.reset();  // run() returns when the handlers of the closed sockets have run
  });
}

void HttpLoop::CloseAll() {
  visited_.assign(connections_.begin(), connections_.end());
  for (const auto& connection : visited_) connection->Close();
  visited_.clear();
}

void HttpLoop::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace cadre
