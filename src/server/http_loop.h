// One thread of the transport: its connections' sockets, their deadlines, and the wake-ups from
// other threads, gathered so that a step of the engine costs one for all its streams.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "server/http_connection.h"

namespace cadre {

class HttpLoop : public std::enable_shared_from_this<HttpLoop> {
 public:
  // `num_connections` is shared by all loops. `tls`: null without.
  HttpLoop(std::shared_ptr<HttpService> service, std::shared_ptr<boost::asio::ssl::context> tls,
           std::atomic<size_t>& num_connections);

  boost::asio::io_context& context() { return context_; }
  void Start();
  // --- On any thread ---
  void Adopt(boost::asio::ip::tcp::socket socket);
  void Wake(std::shared_ptr<HttpConnection> connection);
  void Drain();
  void Stop();  // ends the loop, once what is queued has run
  void Join();

  // --- On this loop's thread ---
  void Forget(const std::shared_ptr<HttpConnection>& connection);

 private:
  void Run();
  void Tick();
  void FlushWoken();
  void CloseAll();

  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer timer_;
  const std::chrono::milliseconds tick_;
  const std::shared_ptr<HttpService> service_;
  const std::shared_ptr<boost::asio::ssl::context> tls_;
  std::atomic<size_t>& num_connections_;
  std::unordered_set<std::shared_ptr<HttpConnection>> connections_;
  std::vector<std::shared_ptr<HttpConnection>> visited_;  // scratch of walks over connections_
  bool draining_ = false;
  bool stopping_ = false;
  std::mutex woken_mutex_;
  std::vector<std::shared_ptr<HttpConnection>> woken_;
  std::vector<std::shared_ptr<HttpConnection>> flushing_;
  bool accepts_wakes_ = true;
  std::thread thread_;
};

}  // namespace cadre
