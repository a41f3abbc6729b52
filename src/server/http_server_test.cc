#include "server/http_server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "base/json.h"
#include "server/http_test_client.h"

namespace cadre {
namespace {

constexpr char kGet[] = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

// Answers with the request as it was understood.
void Echo(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const Json body = {{"method", request.method}, {"path", request.path},
                     {"query", request.query},   {"type", request.content_type},
                     {"body", request.body},     {"id", request.request_id}};
  reply->Respond({.body = body.dump()});
}

// Keeps the replies for the test to answer.
class Kept {
 public:
  HttpHandler handler() {
    return [this](const HttpRequest&, std::shared_ptr<HttpReply> reply) {
      if (on_request) on_request(*reply);
      const std::lock_guard lock(mutex_);
      replies_.push_back(std::move(reply));
      changed_.notify_all();
    };
  }
  std::shared_ptr<HttpReply> Wait(size_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return replies_.size() > index; });
    return replies_.at(index);
  }
  size_t size() {
    const std::lock_guard lock(mutex_);
    return replies_.size();
  }
  std::function<void(HttpReply&)> on_request;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<HttpReply>> replies_;
};

TEST(HttpServer, AnswersManyRequestsOnOneConnection) {
  HttpServer server(TestConfig(), Echo);
  TestClient client(server.port());
  for (int i = 0; i < 20; ++i) {
    const TestAnswer answer = client.Get(fmt::format("/v1/m%2F{}/?a=b%20", i));
    ASSERT_EQ(answer.status, 200);
    const Json body = Json::parse(answer.body);
    EXPECT_EQ(body["path"], fmt::format("/v1/m/{}", i));
    EXPECT_EQ(body["query"], "a=b%20");
    EXPECT_EQ(answer.headers.at("content-type"), "application/json");
    EXPECT_EQ(answer.headers.at("x-request-id"), body["id"]);
    EXPECT_FALSE(answer.headers.contains("connection"));
  }
  EXPECT_EQ(server.num_connections(), 1u);
}

TEST(HttpServer, AnswersPipelinedRequestsInTheirOrder) {
  Kept kept;
  HttpServer server(TestConfig(), kept.handler());
  TestClient client(server.port());
  std::string all;
  for (int i = 0; i < 3; ++i) {
    all += "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab";
  }
  client.Send(all);
  for (size_t i = 0; i < 3; ++i) {
    const auto reply = kept.Wait(i);
    EXPECT_FALSE(client.Waits(20));
    EXPECT_EQ(kept.size(), i + 1);  // one at a time
    reply->Respond({.body = std::to_string(i)});
    EXPECT_EQ(client.ReadAnswer().body, std::to_string(i));
  }
}

TEST(HttpServer, ReadsChunkedBodiesHoweverTheyAreCut) {
  HttpServer server(TestConfig(), Echo);
  TestClient client(server.port());
  const std::string request =
      "POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Type: Application/JSON; charset=utf-8\r\n"
      "Transfer-Encoding: chunked\r\n\r\n"
      "5;x=y\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n";
  for (const size_t step : {request.size(), size_t{1}, size_t{7}}) {
    for (size_t i = 0; i < request.size(); i += step) {
      client.Send(request.substr(i, step));
      if (step < request.size()) std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    const Json body = Json::parse(client.ReadAnswer().body);
    EXPECT_EQ(body["body"], "hello 0123456789");
    EXPECT_EQ(body["type"], "application/json");
  }
}

TEST(HttpServer, GivesHeadTheHeaderOfGetAlone) {
  HttpServer server(TestConfig(), Echo);
  TestClient client(server.port());
  client.Send("HEAD /h HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const TestAnswer head = client.ReadAnswer(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_GT(std::stoi(head.headers.at("content-length")), 10);
  EXPECT_EQ(client.Get("/g").status, 200);  // nothing lies between
}

TEST(HttpServer, TellsWhoAsksThatABodyIsWelcome) {
  HttpServer server(TestConfig(), Echo);
  TestClient client(server.port());
  client.Send(
      "POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadTo("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("abc");
  EXPECT_EQ(Json::parse(client.ReadAnswer().body)["body"], "abc");
}

TEST(HttpServer, SpeaksWithClientsOfHttp10) {
  HttpServer server(TestConfig(), [](HttpRequest request, std::shared_ptr<HttpReply> reply) {
    if (request.path == "/whole") return reply->Respond({.body = "whole"});
    reply->StartStream({.content_type = "text/event-stream"});
    reply->Write("a");
    reply->Write("b");
    reply->Finish();
  });
  TestClient client(server.port());
  client.Send("GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const TestAnswer whole = client.ReadAnswer();
  EXPECT_EQ(whole.body, "whole");
  EXPECT_EQ(whole.headers.at("connection"), "keep-alive");
  client.Send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const TestAnswer stream = client.ReadAnswer();
  EXPECT_EQ(stream.body, "ab");  // to the end of the connection
  EXPECT_EQ(stream.headers.at("connection"), "close");
  EXPECT_FALSE(stream.headers.contains("transfer-encoding"));
}

TEST(HttpServer, StreamsEachPieceWhenItIsThere) {
  Kept kept;
  HttpServer server(TestConfig(), kept.handler());
  TestClient client(server.port());
  client.Send(kGet);
  const auto reply = kept.Wait(0);
  reply->StartStream({.content_type = "text/event-stream",
                      .headers = {{"Cache-Control", "no-cache"}, {"X-Odd", "a\r\nb"}}});
  const TestAnswer head = client.ReadHead();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-type"), "text/event-stream");
  EXPECT_EQ(head.headers.at("x-odd"), "a  b");
  for (const std::string piece : {"data: 1\n\n", "data: 22\n\n"}) {
    reply->Write(piece);
    EXPECT_EQ(client.ReadChunk(), piece);
  }
  EXPECT_TRUE(Eventually([&] { return reply->unsent_bytes() == 0; }));
  reply->Write("x");
  reply->Finish();
  reply->Write("after the end");
  reply->Finish();
  std::string rest;
  while (const auto chunk = client.ReadChunk()) rest += *chunk;
  EXPECT_EQ(rest, "x");
  client.Send(kGet);  // the connection serves on
  kept.Wait(1)->Respond({.body = "next"});
  EXPECT_EQ(client.ReadAnswer().body, "next");
}

TEST(HttpServer, TurnsWhatAHandlerThrowsIntoA500OfThatClientAlone) {
  HttpServer server(TestConfig(), [](HttpRequest request, std::shared_ptr<HttpReply> reply) {
    if (request.path == "/throw") throw std::runtime_error("secret");
    if (request.path == "/odd") throw 7;
    if (request.path == "/drop") return;
    reply->StartStream({});
    reply->Write("begun");
    if (request.path == "/half") throw std::runtime_error("half");
    reply->Finish();
  });
  TestClient other(server.port());
  TestClient client(server.port());
  for (const char* path : {"/throw", "/odd", "/drop"}) {
    const TestAnswer answer = client.Get(path);
    EXPECT_EQ(answer.status, 500);
    EXPECT_EQ(Json::parse(answer.body)["error"]["type"], "server_error");
    EXPECT_EQ(answer.body.find("secret"), std::string::npos);
  }
  client.Send("GET /half HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_FALSE(client.ReadToEnd().ends_with("0\r\n\r\n"));  // cut, not ended
  EXPECT_EQ(other.Get("/").body, "begun");
}

TEST(HttpServer, TellsOnceThatAClientHasGone) {
  std::atomic<int> gone = 0;
  Kept kept;
  kept.on_request = [&](HttpReply& reply) { reply.OnGone([&] { ++gone; }); };
  HttpServer server(TestConfig(), kept.handler());
  {
    TestClient before(server.port());  // no word of the answer yet
    before.Send(kGet);
    kept.Wait(0);
  }
  EXPECT_TRUE(Eventually([&] { return gone == 1; }));
  {
    TestClient within(server.port());  // in the middle of a stream that pauses
    within.Send(kGet);
    kept.Wait(1)->StartStream({});
    kept.Wait(1)->Write("x");
    within.ReadHead();
    within.ReadChunk();
  }
  EXPECT_TRUE(Eventually([&] { return gone == 2; }));
  {
    TestClient after(server.port());
    after.Send(kGet);
    kept.Wait(2)->Respond({.body = "done"});
    EXPECT_EQ(after.ReadAnswer().body, "done");
  }
  EXPECT_TRUE(Eventually([&] { return server.num_connections() == 0; }));
  for (size_t i = 0; i < 3; ++i) {  // all without effect
    kept.Wait(i)->Write("x");
    kept.Wait(i)->Respond({});
    kept.Wait(i)->Finish();
    EXPECT_EQ(kept.Wait(i)->unsent_bytes(), 0u);
  }
  EXPECT_EQ(gone, 2);
}

TEST(HttpServer, HoldsBackForSlowReadersAndTellsWhenTheyHaveCaughtUp) {
  std::atomic<int> drained = 0;
  Kept kept;
  HttpServer server(TestConfig(), kept.handler());
  TestClient client(server.port(), 4096);
  client.Send(kGet);
  const auto reply = kept.Wait(0);
  reply->StartStream({});
  reply->OnDrained(100000, [&] { ++drained; });
  const std::string piece(50000, 'p');
  size_t written = 0;
  for (; written < 20'000'000; written += piece.size()) {  // more than the system's buffers take
    reply->Write(piece);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_GT(reply->unsent_bytes(), 500000u);
  const int drained_before = drained;  // while the system's buffers took all
  client.ReadHead();
  size_t read = 0;
  while (read < written) read += client.ReadChunk().value_or("").size();
  EXPECT_EQ(read, written);
  EXPECT_TRUE(Eventually([&] { return reply->unsent_bytes() == 0; }));
  EXPECT_TRUE(Eventually([&] { return drained == drained_before + 1; }));
  reply->Write(std::string(150000, 'q'));  // above again
  while (read < written + 150000) read += client.ReadChunk().value_or("").size();
  EXPECT_TRUE(Eventually([&] { return drained == drained_before + 2; }));
  reply->Finish();
}

TEST(HttpServer, DropsAClientThatTakesNothing) {
  std::atomic<int> gone = 0;
  HttpServerConfig config = TestConfig();
  config.limits.stall_s = 0.2;
  Kept kept;
  kept.on_request = [&](HttpReply& reply) { reply.OnGone([&] { ++gone; }); };
  HttpServer server(config, kept.handler());
  TestClient client(server.port(), 4096);
  client.Send(kGet);
  const auto reply = kept.Wait(0);
  reply->StartStream({});
  reply->Write(std::string(20'000'000, 'p'));
  EXPECT_TRUE(Eventually([&] { return gone == 1; }));
  EXPECT_EQ(reply->unsent_bytes(), 0u);
  EXPECT_EQ(server.num_connections(), 0u);
}

TEST(HttpServer, DropsAStreamThatPilesUpBeyondItsLimit) {
  std::atomic<int> gone = 0;
  HttpServerConfig config = TestConfig();
  config.limits.unsent_bytes = 1'000'000;
  Kept kept;
  kept.on_request = [&](HttpReply& reply) { reply.OnGone([&] { ++gone; }); };
  HttpServer server(config, kept.handler());
  TestClient client(server.port(), 4096);
  client.Send(kGet);
  const auto reply = kept.Wait(0);
  reply->StartStream({});
  for (int i = 0; i < 1000 && gone == 0; ++i) reply->Write(std::string(100'000, 'p'));
  EXPECT_TRUE(Eventually([&] { return gone == 1; }));
}

TEST(HttpServer, ServesManyStreamsAtOnce) {
  constexpr int kStreams = 600;
  constexpr int kPieces = 20;
  Kept kept;
  HttpServer server(TestConfig(), kept.handler());
  std::vector<TestClient> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.emplace_back(server.port());
    clients.back().Send(kGet);
  }
  ASSERT_TRUE(Eventually([&] { return kept.size() == kStreams; }));
  EXPECT_EQ(server.num_connections(), static_cast<size_t>(kStreams));
  for (size_t i = 0; i < kStreams; ++i) kept.Wait(i)->StartStream({});
  std::string expected;
  for (int piece = 0; piece < kPieces; ++piece) {
    for (size_t i = 0; i < kStreams; ++i) kept.Wait(i)->Write(fmt::format("[{}]", piece));
    expected += fmt::format("[{}]", piece);
  }
  for (size_t i = 0; i < kStreams; ++i) kept.Wait(i)->Finish();
  for (TestClient& client : clients) EXPECT_EQ(client.ReadAnswer().body, expected);
}

TEST(HttpServer, DrainsByAnsweringWhatHasBegun) {
  Kept kept;
  HttpServerConfig config = TestConfig();
  config.num_threads = 1;  // once the idle one has gone, the busy one knows too
  HttpServer server(config, kept.handler());
  const uint16_t port = server.port();
  TestClient idle(port);
  TestClient busy(port);
  busy.Send(kGet);
  const auto reply = kept.Wait(0);
  std::atomic<int> all = -1;
  std::jthread drain([&] { all = server.Drain(10) ? 1 : 0; });
  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_THROW(
      {
        for (int i = 0; i < 1000; ++i) TestClient late(port);
      },
      Error);
  EXPECT_EQ(all, -1);
  reply->Respond({.body = "last"});
  const TestAnswer answer = busy.ReadAnswer();
  EXPECT_EQ(answer.body, "last");
  EXPECT_EQ(answer.headers.at("connection"), "close");
  busy.Close();
  drain.join();
  EXPECT_EQ(all, 1);
}

TEST(HttpServer, GivesUpDrainingInTime) {
  std::atomic<int> gone = 0;
  Kept kept;
  kept.on_request = [&](HttpReply& reply) { reply.OnGone([&] { ++gone; }); };
  HttpServer server(TestConfig(), kept.handler());
  TestClient busy(server.port());
  busy.Send(kGet);
  const auto reply = kept.Wait(0);
  EXPECT_FALSE(server.Drain(0.1));
  EXPECT_EQ(gone, 1);
  reply->Respond({.body = "too late"});
  EXPECT_EQ(busy.ReadToEnd(), "");
}

TEST(HttpServer, StaysWellBesideClientsThatComeAndGoInTheMiddle) {
  Kept kept;
  HttpServer server(TestConfig(), kept.handler());
  std::jthread engine([&](const std::stop_token& stop) {  // as an engine writes to all
    while (!stop.stop_requested()) {
      for (size_t i = 0, n = kept.size(); i < n; ++i) {
        const auto reply = kept.Wait(i);
        reply->StartStream({});
        reply->Write("data: x\n\n");
        if (i % 3 == 0) reply->Finish();
      }
    }
  });
  for (int i = 0; i < 200; ++i) {
    TestClient client(server.port());
    client.Send(kGet);
    if (i % 2 == 0) client.ReadHead();
  }
  EXPECT_TRUE(Eventually([&] { return server.num_connections() == 0; }));
  TestClient last(server.port());
  last.Send(kGet);
  EXPECT_EQ(last.ReadHead().status, 200);
}

}  // namespace
}  // namespace cadre
