#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <vector>

#include "base/json.h"
#include "server/http_test_client.h"

namespace cadre {
namespace {

void Ok(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  reply->Respond({.body = std::to_string(request.body.size())});
}

HttpServerConfig HastyConfig() {
  HttpServerConfig config = TestConfig();
  config.limits.header_s = config.limits.body_s = config.limits.linger_s = 0.2;
  config.limits.body_bytes_per_s = 1e6;
  config.limits.idle_s = 0.5;
  return config;
}

// What a server says to `bytes` before it ends the connection.
TestAnswer LastAnswer(HttpServer& server, std::string_view bytes) {
  TestClient client(server.port());
  client.Send(bytes);
  const TestAnswer answer = client.ReadAnswer();
  EXPECT_EQ(client.ReadToEnd(), "") << bytes.substr(0, 100);
  EXPECT_EQ(answer.headers.count("connection"), 1u) << bytes.substr(0, 100);
  EXPECT_TRUE(Json::parse(answer.body)["error"]["message"].is_string());
  return answer;
}

TEST(HttpLimits, RefuseALargeHeader) {
  HttpServer server(TestConfig(), Ok);
  TestClient fits(server.port());
  EXPECT_EQ(fits.Get("/", "A: " + std::string(15 << 10, 'a') + "\r\n").status, 200);
  const std::string start = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  EXPECT_EQ(LastAnswer(server, start + "A: " + std::string(20 << 10, 'a')).status, 431);
  EXPECT_EQ(LastAnswer(server, "GET /" + std::string(20 << 10, 'a')).status, 431);
  std::string many = start;
  for (int i = 0; i < 4000; ++i) many += fmt::format("A{}: b\r\n", i);
  EXPECT_EQ(LastAnswer(server, many + "\r\n").status, 431);
}

TEST(HttpLimits, RefuseALargeBodyBeforeItIsSent) {
  HttpServerConfig config = HastyConfig();
  config.limits.body_bytes = 100'000;
  HttpServer server(config, Ok);
  const std::string start = "POST / HTTP/1.1\r\nHost: localhost\r\n";
  EXPECT_EQ(LastAnswer(server, start + "Content-Length: 100001\r\n\r\n").status, 413);
  EXPECT_EQ(
      LastAnswer(server, start + "Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n").status,
      413);
  std::string chunks = start + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) chunks += "2710\r\n" + std::string(10000, 'c') + "\r\n";
  EXPECT_EQ(LastAnswer(server, chunks).status, 413);
  TestClient fits(server.port());
  fits.Send(start + "Content-Length: 100000\r\n\r\n" + std::string(100'000, 'b'));
  EXPECT_EQ(fits.ReadAnswer().body, "100000");
}

TEST(HttpLimits, LetAClientThatSendsTooMuchReadItsAnswer) {
  HttpServerConfig config = TestConfig();
  config.limits.body_bytes = 1000;
  HttpServer server(config, Ok);
  TestClient client(server.port());
  client.Send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n");
  for (int i = 0; i < 80; ++i) client.Send(std::string(100'000, 'x'));
  EXPECT_EQ(client.ReadAnswer().status, 413);
}

TEST(HttpLimits, BoundAllBodiesTogether) {
  HttpServerConfig config = TestConfig();
  config.limits.all_bodies_bytes = 100'000;
  HttpServer server(config, Ok);
  const std::string head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 80000\r\n\r\n";
  std::optional<TestClient> first(server.port());
  first->Send(head + std::string(79'999, 'a'));
  TestAnswer answer;
  EXPECT_TRUE(Eventually([&] {  // until the first one's bytes have come
    TestClient other(server.port());
    other.Send(head + std::string(80'000, 'b'));
    answer = other.ReadAnswer();
    return answer.status == 503;
  }));
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  first.reset();
  EXPECT_TRUE(Eventually([&] {  // what it held is free again
    TestClient other(server.port());
    other.Send(head + std::string(80'000, 'b'));
    return other.ReadAnswer().status == 200;
  }));
}

TEST(HttpLimits, EndRequestsThatDoNotComeInTime) {
  HttpServer server(HastyConfig(), Ok);
  EXPECT_EQ(LastAnswer(server, "GET / HT").status, 408);
  EXPECT_EQ(LastAnswer(server, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
                .status,
            408);
  TestClient drip(server.port());  // a byte now and then does not help
  std::string sent = "GET / HTTP/1.1\r\nHost: localhost\r\nA: ";
  for (int i = 0; i < 200 && !drip.Waits(5); ++i) drip.Send(std::exchange(sent, "a"));
  EXPECT_EQ(drip.ReadAnswer().status, 408);
}

TEST(HttpLimits, EndIdleConnectionsSilently) {
  HttpServer server(HastyConfig(), Ok);
  TestClient fresh(server.port());
  TestClient used(server.port());
  EXPECT_EQ(used.Get("/").status, 200);
  EXPECT_EQ(fresh.ReadToEnd(), "");
  EXPECT_EQ(used.ReadToEnd(), "");
}

TEST(HttpLimits, LeaveTheTimeOfAnAnswerToTheHandler) {
  std::promise<std::shared_ptr<HttpReply>> kept;
  HttpServer server(HastyConfig(), [&](HttpRequest, std::shared_ptr<HttpReply> reply) {
    kept.set_value(std::move(reply));
  });
  TestClient client(server.port());
  client.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_FALSE(client.Waits(1000));
  kept.get_future().get()->Respond({.body = "late"});
  EXPECT_EQ(client.ReadAnswer().body, "late");
}

TEST(HttpLimits, TurnAwayMoreConnectionsThanAllowed) {
  HttpServerConfig config = TestConfig();
  config.limits.connections = 3;
  HttpServer server(config, Ok);
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(server.port());
    EXPECT_EQ(clients.back().Get("/").status, 200);
  }
  TestClient more(server.port());
  EXPECT_EQ(more.ReadAnswer().status, 503);
  clients.pop_back();
  EXPECT_TRUE(Eventually([&] { return server.num_connections() == 2; }));
  TestClient again(server.port());
  EXPECT_EQ(again.Get("/").status, 200);
}

TEST(HttpLimits, RefuseWhatIsNoRequest) {
  HttpServer server(HastyConfig(), Ok);
  const std::string host = "Host: localhost\r\n";
  const std::pair<std::string, int> cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", 400},                     // no Host
      {"GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},  // two
      {"GET / HTTP/2.0\r\n" + host + "\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"hello\r\n\r\n", 400},
      {"\x16\x03\x01\x02\x01", 400},  // TLS to a plain port
      {"GET / HTTP/1.1\r\n" + host + "A B: c\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" +
           std::string(20 << 10, 'e'),
       431},
  };
  for (const auto& [bytes, status] : cases) {
    EXPECT_EQ(LastAnswer(server, bytes).status, status) << bytes.substr(0, 100);
  }
  TestClient client(server.port());
  for (const char* target : {"/%", "/%4", "/%zz", "/%00", "/%ff", "/a%0d%0ab", "nopath"}) {
    EXPECT_EQ(client.Get(target).status, 400) << target;  // and the connection serves on
  }
  EXPECT_EQ(client.Get("/").status, 200);
}

}  // namespace
}  // namespace cadre
