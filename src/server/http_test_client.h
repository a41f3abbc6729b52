// For tests: a server at any free port and a client that sends what it is told, byte by byte.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/error.h"
#include "server/http_server.h"

namespace cadre {

inline HttpServerConfig TestConfig() { return {.host = "127.0.0.1", .port = 0, .num_threads = 2}; }

// Whether `condition` holds within five seconds.
inline bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return condition();
}

struct TestAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

class TestClient {
 public:
  // `receive_bytes`: of the socket's buffer; 0: the system's choice.
  explicit TestClient(uint16_t port, int receive_bytes = 0)
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) {
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      throw Error("cannot connect to port {}", port);
    }
  }
  ~TestClient() { Close(); }
  TestClient(TestClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), buffer_(std::move(other.buffer_)) {}
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  void Close() {
    if (socket_ >= 0) close(std::exchange(socket_, -1));
  }

  // As much as the other side takes; returns whether that is all.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Reads more into the buffer; false at the end, an error, or after ten seconds.
  bool ReadMore() {
    pollfd waited = {.fd = socket_, .events = POLLIN, .revents = 0};
    if (poll(&waited, 1, 10000) <= 0) return false;
    char bytes[65536];
    const ssize_t size = recv(socket_, bytes, sizeof(bytes), 0);
    if (size <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(size));
    return true;
  }

  // Whether something can be read within `ms`.
  bool Waits(int ms) const {
    pollfd waited = {.fd = socket_, .events = POLLIN, .revents = 0};
    return !buffer_.empty() || poll(&waited, 1, ms) > 0;
  }

  // All that comes up to and with `end`; what came, if the connection ends before.
  std::string ReadTo(std::string_view end) {
    size_t at = buffer_.find(end);
    while (at == std::string::npos && ReadMore()) at = buffer_.find(end);
    return TakeFront(at == std::string::npos ? buffer_.size() : at + end.size());
  }

  std::string ReadToEnd() {
    while (ReadMore()) {
    }
    return TakeFront(buffer_.size());
  }

  // The next answer; status 0 when there is none. `no_body`: of a HEAD request.
  TestAnswer ReadAnswer(bool no_body = false) {
    TestAnswer answer = ReadHead();
    if (no_body || answer.status == 0) return answer;
    const auto length = answer.headers.find("content-length");
    if (length != answer.headers.end()) {
      const size_t size = std::stoul(length->second);
      while (buffer_.size() < size && ReadMore()) {
      }
      answer.body = TakeFront(std::min(size, buffer_.size()));
    } else if (answer.headers.contains("transfer-encoding")) {
      while (const auto chunk = ReadChunk()) answer.body += *chunk;
    } else if (answer.status != 204) {
      answer.body = ReadToEnd();
    }
    return answer;
  }

  TestAnswer ReadHead() {
    const std::string head = ReadTo("\r\n\r\n");
    TestAnswer answer;
    if (!head.starts_with("HTTP/1.1 ") || !head.ends_with("\r\n\r\n")) return answer;
    answer.status = std::stoi(head.substr(9, 3));
    for (size_t line = head.find("\r\n") + 2; line + 2 < head.size();) {
      const size_t end = head.find("\r\n", line);
      const size_t colon = head.find(": ", line);
      std::string name = head.substr(line, colon - line);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return static_cast<char>(std::tolower(c)); });
      answer.headers[name] = head.substr(colon + 2, end - colon - 2);
      line = end + 2;
    }
    return answer;
  }

  // The next chunk; nothing for the last, empty one.
  std::optional<std::string> ReadChunk() {
    const std::string size_line = ReadTo("\r\n");
    const size_t size = size_line.empty() ? 0 : std::stoul(size_line, nullptr, 16);
    while (buffer_.size() < size + 2 && ReadMore()) {
    }
    std::string chunk = TakeFront(std::min(size + 2, buffer_.size()));
    if (size == 0) return std::nullopt;
    chunk.resize(chunk.size() - 2);
    return chunk;
  }

  TestAnswer Get(std::string_view path, std::string_view headers = "") {
    Send(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, headers));
    return ReadAnswer();
  }

  int descriptor() const { return socket_; }

 private:
  std::string TakeFront(size_t size) {
    std::string front = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return front;
  }

  int socket_;
  std::string buffer_;
};

}  // namespace cadre
