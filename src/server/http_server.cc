#include "server/http_server.h"

#include <openssl/rand.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "server/error_body.h"
#include "server/http_connection.h"
#include "server/http_head_writer.h"
#include "server/http_loop.h"
#include "server/tls.h"

namespace cadre {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

void CheckConfig(const HttpServerConfig& config) {
  const HttpLimits& limits = config.limits;
  if (config.num_threads < 1 || config.num_threads > 256) {
    throw Error("the number of transport threads is {} but must be 1 to 256", config.num_threads);
  }
  const double shortest = std::min({limits.header_s, limits.body_s, limits.idle_s, limits.stall_s,
                                    limits.linger_s, limits.body_bytes_per_s});
  if (!(shortest > 0) || limits.connections < 1 || limits.body_bytes < 1 ||
      limits.header_bytes < 256 || limits.header_bytes > (size_t{1} << 30)) {
    throw Error("a limit of the transport is too small or too large");
  }
  if (config.tls_cert_file.empty() != config.tls_key_file.empty()) {
    throw Error("TLS needs both a certificate and its key: expected --tls-cert and --tls-key");
  }
  for (const std::string& origin : config.allow_origins) {
    if (origin != "*" && (origin.find("://") == std::string::npos || origin.ends_with('/'))) {
      throw Error("--allow-origin {} must be * or like https://example.org", Printable(origin));
    }
  }
}

// A connection is a file: as many as the system lets this process have.
void RaiseFileLimit(size_t num_connections) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < num_connections + 64) {
    log::warn("only {} files may be open at once: fewer connections than {}", limit.rlim_cur,
              num_connections);
  }
}

tcp::endpoint Resolve(boost::asio::io_context& context, const HttpServerConfig& config) {
  std::string host = config.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  if (!error) return {address, config.port};
  const auto found = tcp::resolver(context).resolve(host, std::to_string(config.port), error);
  if (error || found.empty()) {
    throw Error("--host {} is no address of this machine: {}", Printable(host), error.message());
  }
  return *found.begin();
}

uint64_t RandomSeed() {
  uint64_t seed = 0;
  CADRE_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof(seed)) == 1);
  return seed;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerConfig& config, HttpHandler handler);
  ~Impl() { Stop(); }

  std::string url() const;
  uint16_t port() const { return endpoint_.port(); }
  size_t num_connections() const { return num_connections_; }
  bool Drain(double timeout_s);
  void Stop();

 private:
  void Listen();
  void Accept();
  void OnAccepted(tcp::socket socket);
  void TurnAway(tcp::socket& socket);
  void StopListening();

  const bool has_tls_;
  const size_t max_connections_;
  std::atomic<size_t> num_connections_ = 0;
  std::vector<std::shared_ptr<HttpLoop>> loops_;
  size_t next_loop_ = 0;
  tcp::endpoint endpoint_;
  std::unique_ptr<tcp::acceptor> acceptor_;  // on the first loop
  std::unique_ptr<boost::asio::steady_timer> pause_;
  std::string busy_;  // what those are told who are too many
  bool stopped_ = false;
};

HttpServer::Impl::Impl(const HttpServerConfig& config, HttpHandler handler)
    : has_tls_(!config.tls_cert_file.empty()), max_connections_(config.limits.connections) {
  CheckConfig(config);
  boost::asio::io_context resolving;
  endpoint_ = Resolve(resolving, config);
  std::shared_ptr<HttpService> service(
      new HttpService{.limits = config.limits,
                      .access = HttpAccess(config, endpoint_.address().is_loopback()),
                      .handler = std::move(handler),
                      .id_seed = RandomSeed()});
  std::shared_ptr<boost::asio::ssl::context> tls;
  if (has_tls_) {
    tls = std::make_shared<boost::asio::ssl::context>(
        MakeTlsContext(config.tls_cert_file, config.tls_key_file));
  }
  RaiseFileLimit(max_connections_);
  const HttpResponse busy = ErrorResponse(503, "too many connections: try again");
  AppendHttpHead(busy, {.keep_alive = false}, busy_);
  busy_ += "\r\n" + busy.body;
  for (int i = 0; i < config.num_threads; ++i) {
    loops_.push_back(std::make_shared<HttpLoop>(service, tls, num_connections_));
  }
  Listen();
  for (const auto& loop : loops_) loop->Start();
  boost::asio::post(loops_[0]->context(), [this] { Accept(); });
}

void HttpServer::Impl::Listen() {
  try {
    acceptor_ = std::make_unique<tcp::acceptor>(loops_[0]->context(), endpoint_.protocol());
    acceptor_->set_option(tcp::acceptor::reuse_address(true));
    acceptor_->bind(endpoint_);
    acceptor_->listen(4096);
    endpoint_ = acceptor_->local_endpoint();
    pause_ = std::make_unique<boost::asio::steady_timer>(loops_[0]->context());
  } catch (const boost::system::system_error& error) {
    throw Error("cannot listen at {} port {}: {}", endpoint_.address().to_string(),
                endpoint_.port(), error.code().message());
  }
}

std::string HttpServer::Impl::url() const {
  const std::string address = endpoint_.address().to_string();
  return fmt::format("{}://{}:{}", has_tls_ ? "https" : "http",
                     endpoint_.address().is_v6() ? "[" + address + "]" : address, port());
}

void HttpServer::Impl::Accept() {
  HttpLoop& loop = *loops_[next_loop_];
  acceptor_->async_accept(loop.context(), [this](error_code error, tcp::socket socket) {
    if (!acceptor_->is_open()) return;
    if (!error) {
      OnAccepted(std::move(socket));
      return Accept();
    }
    if (error == boost::asio::error::connection_aborted) return Accept();
    // No files or memory left: those that end will give some back.
    log::warn("cannot accept a connection: {}", error.message());
    pause_->expires_after(100ms);
    pause_->async_wait([this](error_code cancelled) {
      if (!cancelled && acceptor_->is_open()) Accept();
    });
  });
}

void HttpServer::Impl::OnAccepted(tcp::socket socket) {
  if (num_connections_ >= max_connections_) return TurnAway(socket);
  ++num_connections_;
  loops_[next_loop_]->Adopt(std::move(socket));
  next_loop_ = (next_loop_ + 1) % loops_.size();
}

// As much as can be said without waiting.
void HttpServer::Impl::TurnAway(tcp::socket& socket) {
  log::warn("{} connections: another one is turned away", num_connections_.load());
  if (has_tls_) return;
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(boost::asio::buffer(busy_), ignored);
  socket.shutdown(tcp::socket::shutdown_both, ignored);
}

void HttpServer::Impl::StopListening() {
  boost::asio::post(loops_[0]->context(), [this] {
    error_code ignored;
    acceptor_->close(ignored);
    pause_->cancel();
  });
}

bool HttpServer::Impl::Drain(double timeout_s) {
  if (stopped_) return true;
  StopListening();
  for (const auto& loop : loops_) loop->Drain();
  const Stopwatch watch;
  while (num_connections_ > 0 && watch.Seconds() < timeout_s) std::this_thread::sleep_for(5ms);
  const bool all = num_connections_ == 0;
  Stop();
  return all;
}

void HttpServer::Impl::Stop() {
  if (std::exchange(stopped_, true)) return;
  StopListening();
  for (const auto& loop : loops_) loop->Stop();
  for (const auto& loop : loops_) loop->Join();
}

HttpServer::HttpServer(const HttpServerConfig& config, HttpHandler handler)
    : impl_(std::make_unique<Impl>(config, std::move(handler))) {}
HttpServer::~HttpServer() = default;
uint16_t HttpServer::port() const { return impl_->port(); }
std::string HttpServer::url() const { return impl_->url(); }
size_t HttpServer::num_connections() const { return impl_->num_connections(); }
bool HttpServer::Drain(double timeout_s) { return impl_->Drain(timeout_s); }
void HttpServer::Stop() { impl_->Stop(); }

}  // namespace cadre
