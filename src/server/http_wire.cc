#include "server/http_wire.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <string>
#include <utility>

#include "server/http_loop.h"

namespace cadre {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kReadBytes = size_t{8} << 10;

std::string ClientOf(const tcp::socket& socket) {
  const tcp::endpoint client = socket.remote_endpoint();
  const std::string address = client.address().to_string();
  return fmt::format(fmt::runtime(client.address().is_v6() ? "[{}]:{}" : "{}:{}"), address,
                     client.port());
}

// What differs between the streams.
void Handshake(tcp::socket&, auto done) { done(error_code()); }
void Handshake(boost::asio::ssl::stream<tcp::socket>& stream, auto done) {
  stream.async_handshake(boost::asio::ssl::stream_base::server, std::move(done));
}
void SayEnd(tcp::socket& socket, auto) {
  error_code ignored;
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}
void SayEnd(boost::asio::ssl::stream<tcp::socket>& stream, auto done) {
  stream.async_shutdown(std::move(done));
}

class WireBase : public HttpConnection {
 public:
  using HttpConnection::HttpConnection;
  virtual void Shake() = 0;
};

template <class Stream>
class Wire final : public WireBase {
 public:
  template <class... Args>
  Wire(std::shared_ptr<HttpService> service, std::string client, std::shared_ptr<HttpLoop> loop,
       Args&&... args)
      : WireBase(std::move(service), std::move(client)),
        loop_(std::move(loop)),
        stream_(std::forward<Args>(args)...) {
    auto& socket = stream_.lowest_layer();
    socket.set_option(tcp::no_delay(true));  // an event is sent when it is there
    socket.set_option(tcp::socket::keep_alive(true));
  }

  void Wake() override { loop_->Wake(shared_from_this()); }

  void Shake() override {
    Handshake(stream_, [this, self = Self()](error_code error) {
      GuardWire(*this, [&] { return error ? Close() : Open(); });
    });
  }

 protected:
  void StartRead() override {
    stream_.async_read_some(
        boost::asio::buffer(read_), [this, self = Self()](error_code error, size_t size) {
          GuardWire(*this, [&] { return error ? OnReadEnd() : OnRead({read_.data(), size}); });
        });
  }

  void StartWrite(std::string_view bytes) override {
    stream_.async_write_some(boost::asio::buffer(bytes.data(), bytes.size()),
                             [this, self = Self()](error_code error, size_t size) {
                               GuardWire(*this,
                                         [&] { return error ? OnWriteFailed() : OnWritten(size); });
                             });
  }

  void ShutdownSend() override {
    SayEnd(stream_, [this, self = Self()](error_code) { Close(); });
  }

  void CloseWire() override {
    error_code ignored;
    stream_.lowest_layer().close(ignored);
    loop_->Forget(shared_from_this());
  }

 private:
  std::shared_ptr<HttpConnection> Self() { return shared_from_this(); }

  const std::shared_ptr<HttpLoop> loop_;  // before the stream, which belongs to its context
  Stream stream_;
  std::array<char, kReadBytes> read_;
};

}  // namespace

std::shared_ptr<HttpConnection> MakeWire(tcp::socket socket, boost::asio::ssl::context* tls,
                                         std::shared_ptr<HttpService> service,
                                         std::shared_ptr<HttpLoop> loop) {
  std::string client = ClientOf(socket);
  if (tls == nullptr) {
    return std::make_shared<Wire<tcp::socket>>(std::move(service), std::move(client),
                                               std::move(loop), std::move(socket));
  }
  return std::make_shared<Wire<boost::asio::ssl::stream<tcp::socket>>>(
      std::move(service), std::move(client), std::move(loop), std::move(socket), *tls);
}

void OpenWire(HttpConnection& connection) { dynamic_cast<WireBase&>(connection).Shake(); }

}  // namespace cadre
