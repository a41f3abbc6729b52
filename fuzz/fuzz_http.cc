// Any bytes of a connection, cut anywhere, with clients that take little at a time and handlers of
// every temper: each request is answered at most once, in order, all that is unanswered learns that
// its client has gone, and the memory of bodies is given back. The first three bytes choose the
// cuts and options; the rest is what the client sends.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "server/http_connection.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

class MemoryWire final : public cadre::HttpConnection {
 public:
  using HttpConnection::HttpConnection;

  void Wake() override { woken_ = true; }

  // Moves bytes until nothing moves: `step` at a time from `input`, at most `write_step` taken.
  void Run(std::string_view input, size_t step, size_t write_step) {
    while (!closed()) {
      if (std::exchange(woken_, false)) {
        Flush();
      } else if (!writing_.empty()) {
        const size_t size = std::min(write_step, writing_.size());
        output_.append(writing_.substr(0, size));
        writing_ = {};
        OnWritten(size);
      } else if (reading_ && !input.empty()) {
        reading_ = false;
        const std::string piece(input.substr(0, step));
        input.remove_prefix(piece.size());
        OnRead(piece);
      } else {
        break;
      }
    }
  }

  const std::string& output() const { return output_; }
  bool shut() const { return shut_; }

 protected:
  void StartRead() override {
    Require(!reading_ && !closed());
    reading_ = true;
  }
  void StartWrite(std::string_view bytes) override {
    Require(writing_.empty() && !bytes.empty() && !shut_ && !closed());
    writing_ = bytes;
  }
  void ShutdownSend() override {
    Require(!shut_ && writing_.empty());
    shut_ = true;
  }
  void CloseWire() override { writing_ = {}; }

 private:
  bool reading_ = false;
  bool woken_ = false;
  bool shut_ = false;
  std::string_view writing_;
  std::string output_;
};

struct Asked {
  std::shared_ptr<cadre::HttpReply> kept;
  int num_gone = 0;
  bool answered = false;
};

void Answer(const cadre::HttpRequest& request, const std::shared_ptr<cadre::HttpReply>& reply,
            Asked& asked) {
  Require(!request.path.empty() && request.path.find('\0') == std::string::npos);
  reply->OnGone([&asked] { ++asked.num_gone; });
  switch ((request.path.size() + request.body.size()) % 6) {
    case 0:
      asked.answered = true;
      return reply->Respond({.body = request.body});
    case 1:
      throw std::runtime_error("no");
    case 2:
      asked.kept = reply;
      return;
    case 3:
      asked.answered = true;
      return;  // dropped
    case 4:
      reply->StartStream({.content_type = request.content_type});
      reply->Write(request.path);
      asked.kept = reply;
      return;
    default:
      asked.answered = true;
      reply->StartStream({});
      reply->Write(request.query);
      reply->Write(request.body);
      reply->Finish();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  spdlog::set_level(spdlog::level::off);
  std::vector<std::unique_ptr<Asked>> asked;
  std::shared_ptr<cadre::HttpService> service(new cadre::HttpService{
      .limits = {.header_bytes = 600, .body_bytes = 2000, .all_bodies_bytes = 1500},
      .access = cadre::HttpAccess(
          {.insecure = true, .allow_origins = {(data[2] & 2u) != 0 ? "*" : "http://a.example"}},
          (data[2] & 4u) != 0),
      .handler = [&](cadre::HttpRequest request, std::shared_ptr<cadre::HttpReply> reply) {
        asked.push_back(std::make_unique<Asked>());
        Answer(request, reply, *asked.back());
      }});
  {
    const auto wire = std::make_shared<MemoryWire>(service, "fuzz");
    wire->Open();
    const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
    const size_t step = data[0] == 0 ? input.size() + 1 : data[0];
    const size_t write_step = size_t{data[1]} + 1;
    wire->Run(input.substr(0, input.size() / 2), step, write_step);
    if ((data[2] & 1u) != 0) wire->Drain();
    for (const auto& one : asked) {  // late answers, to some
      if (one->kept != nullptr && (data[2] & 8u) != 0) one->kept = nullptr;
    }
    wire->Run(input.substr(input.size() / 2), step, write_step);
    if ((data[2] & 16u) != 0) {
      wire->Tick(cadre::HttpConnection::Clock::now() + std::chrono::hours(1));
      wire->Run({}, step, write_step);
    }
    Require(wire->output().empty() || wire->output().starts_with("HTTP/1.1 "));
    wire->OnReadEnd();
    Require(wire->closed());
    for (const auto& one : asked) {
      Require(one->num_gone <= 1);
      Require(one->num_gone == 0 || !one->answered);
      if (one->kept == nullptr) continue;
      Require(one->num_gone == 1 && one->kept->unsent_bytes() == 0);
      one->kept->Write("late");
    }
  }
  Require(service->all_bodies == 0);
  return 0;
}
