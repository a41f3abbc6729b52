// Connections over real sockets, plain or TLS.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <exception>
#include <memory>

#include "base/log.h"
#include "server/http_connection.h"

namespace cadre {

class HttpLoop;

// `tls`: null for plain. The wire keeps `loop` for as long as it lives. Throws when the socket is
// dead already or memory is short.
std::shared_ptr<HttpConnection> MakeWire(boost::asio::ip::tcp::socket socket,
                                         boost::asio::ssl::context* tls,
                                         std::shared_ptr<HttpService> service,
                                         std::shared_ptr<HttpLoop> loop);

// Shakes hands where there is TLS, then opens the connection that MakeWire made.
void OpenWire(HttpConnection& connection);

// Runs `work` of one connection; what it throws ends that connection alone.
template <class Work>
void GuardWire(HttpConnection& connection, const Work& work) {
  try {
    work();
    return;
  } catch (const std::exception& error) {
    log::error("a connection failed: {}", error.what());
  }
  connection.Close();
}

}  // namespace cadre
