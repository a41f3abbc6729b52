#include "server/http_access.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/testing.h"
#include "server/http_test_client.h"

namespace cadre {
namespace {

using base_testing::TempFolder;

class HttpAccessTest : public testing::Test {
 protected:
  std::string KeyFile(const std::string& text) const {
    std::ofstream(folder_ / "keys") << text;
    return folder_ / "keys";
  }

  TempFolder folder_;
};

TEST_F(HttpAccessTest, ReadsAKeyALine) {
  const ApiKeys keys = ApiKeys::Read(KeyFile("# ours\n\n  sk-one \r\nsk-two"));
  EXPECT_EQ(keys.size(), 2u);
  EXPECT_TRUE(keys.Holds("sk-one"));
  EXPECT_TRUE(keys.Holds("sk-two"));
  for (const char* other : {"", "sk-", "sk-one ", "SK-ONE", "# ours", "sk-three"}) {
    EXPECT_FALSE(keys.Holds(other)) << other;
  }
  EXPECT_THROW(ApiKeys::Read(KeyFile("# none\n")), Error);
  EXPECT_THROW(ApiKeys::Read(KeyFile("two words\n")), Error);
  EXPECT_THROW(ApiKeys::Read(folder_ / "missing"), Error);
  EXPECT_THROW(ApiKeys::Read(folder_.path()), Error);
}

TEST_F(HttpAccessTest, FindsTheKeyInAnAuthorization) {
  EXPECT_EQ(PresentedKey("Bearer k"), "k");
  EXPECT_EQ(PresentedKey("bearer  k "), "k");
  EXPECT_EQ(PresentedKey("Basic dXNlcjprZXk6MQ=="), "key:1");  // user:key:1
  EXPECT_EQ(PresentedKey("basic Omtl"), "ke");
  for (const char* other : {"", "Bearer", "Basic", "Basic ", "Basic !!!!", "Basic dXNlcg==",
                            "Basic dXNlc", "Digest k", "Bearerk", "Basic ====", "Basic ="}) {
    EXPECT_FALSE(PresentedKey(other)) << other;
  }
}

TEST_F(HttpAccessTest, OpensOnlyHealthWithoutAKey) {
  HttpServerConfig config = TestConfig();
  config.api_key_file = KeyFile("sk-one\nkey:1\n");
  std::atomic<int> served = 0;
  HttpServer server(config, [&](HttpRequest, std::shared_ptr<HttpReply> reply) {
    ++served;
    reply->Respond({.body = "{}"});
  });
  TestClient client(server.port());
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_EQ(served, 1);
  for (const char* headers :
       {"", "Authorization: Bearer sk-two\r\n", "Authorization: sk-one\r\n",
        "Authorization: Basic dXNlcjpuby1rZXk=\r\n", "X-Api-Key: sk-one\r\n"}) {
    for (const char* path : {"/", "/v1/models", "/health/x", "/metrics"}) {
      const TestAnswer answer = client.Get(path, headers);
      EXPECT_EQ(answer.status, 401) << path << headers;
      EXPECT_TRUE(answer.headers.at("www-authenticate").starts_with("Bearer"));
    }
  }
  EXPECT_EQ(served, 1);
  EXPECT_EQ(client.Get("/v1/models", "Authorization: Bearer sk-one\r\n").status, 200);
  EXPECT_EQ(client.Get("/", "Authorization: Basic dXNlcjprZXk6MQ==\r\n").status, 200);
  const TestAnswer page = client.Get("/", "Accept: text/html,*/*\r\n");
  EXPECT_EQ(page.status, 401);
  EXPECT_TRUE(page.headers.at("www-authenticate").starts_with("Basic "));
  client.Send("POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");  // body unread
  const TestAnswer refused = client.ReadAnswer();
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at("connection"), "close");
}

TEST_F(HttpAccessTest, RefusesToListenForOthersWithoutKeys) {
  HttpServerConfig config = TestConfig();
  const auto handler = [](HttpRequest, std::shared_ptr<HttpReply> reply) { reply->Respond({}); };
  for (const char* host : {"0.0.0.0", "::"}) {
    config.host = host;
    try {
      HttpServer server(config, handler);
      FAIL() << host;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("--api-key-file"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("--insecure"), std::string::npos);
    }
  }
  config.host = "0.0.0.0";
  config.insecure = true;
  EXPECT_GT(HttpServer(config, handler).port(), 0);
  config.insecure = false;
  config.api_key_file = KeyFile("k");
  EXPECT_GT(HttpServer(config, handler).port(), 0);
  config.host = "256.1.1.1";
  EXPECT_THROW(HttpServer(config, handler), Error);
  config.host = "192.0.2.1";  // nobody's
  EXPECT_THROW(HttpServer(config, handler), Error);
}

TEST_F(HttpAccessTest, AnswersOnlyToItsOwnNamesWhereItHasNoKeys) {
  const auto handler = [](HttpRequest, std::shared_ptr<HttpReply> reply) { reply->Respond({}); };
  HttpServer server(TestConfig(), handler);
  const auto status = [&](const std::string& host) {
    TestClient client(server.port());
    client.Send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.ReadAnswer().status;
  };
  for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:9"}) {
    EXPECT_EQ(status(host), 200) << host;
  }
  for (const char* host :
       {"evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io", "[::2]", "10.0.0.1"}) {
    EXPECT_EQ(status(host), 403) << host;
  }
  TestClient old(server.port());
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.ReadAnswer().status, 200);
}

TEST_F(HttpAccessTest, LetsForeignPagesChangeNothing) {
  const HttpAccess access(TestConfig(), true);
  HttpHead head;
  head.method = "POST";
  head.host = "localhost:8080";
  const auto status = [&] {
    const auto answer = access.Answer(head, "/v1/chat/completions");
    return answer ? answer->status : 200;
  };
  EXPECT_EQ(status(), 200);  // no browser
  head.origin = "http://localhost:8080";
  EXPECT_EQ(status(), 200);
  for (const char* origin : {"http://evil.example", "null", "http://localhost:8081"}) {
    head.origin = origin;
    EXPECT_EQ(status(), 403) << origin;
  }
  head.fetch_site = "same-origin";  // behind a proxy that changes Host
  EXPECT_EQ(status(), 200);
  head.fetch_site = "cross-site";
  EXPECT_EQ(status(), 403);
  head.method = "GET";  // cannot be read by the page, changes nothing
  EXPECT_EQ(status(), 200);
  std::string headers;
  access.AppendHeaders(head, headers);
  EXPECT_EQ(headers, "");
}

TEST_F(HttpAccessTest, AnswersThePreflightOfAllowedOrigins) {
  HttpServerConfig config = TestConfig();
  config.allow_origins = {"https://app.example"};
  config.api_key_file = KeyFile("k");
  HttpServer server(config, [](HttpRequest, std::shared_ptr<HttpReply> reply) {
    reply->Respond({.body = "{}"});
  });
  TestClient client(server.port());
  const auto preflight = [&](const std::string& origin) {
    client.Send("OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: " + origin +
                "\r\nAccess-Control-Request-Method: POST\r\n"
                "Access-Control-Request-Headers: authorization\r\n\r\n");
    return client.ReadAnswer();
  };
  const TestAnswer allowed = preflight("https://app.example");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_EQ(allowed.headers.at("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(allowed.headers.at("access-control-allow-headers"), "authorization");
  EXPECT_FALSE(allowed.headers.contains("content-length"));
  const TestAnswer other = preflight("https://evil.example");
  EXPECT_EQ(other.status, 401);
  EXPECT_FALSE(other.headers.contains("access-control-allow-origin"));
  const TestAnswer answer =
      client.Get("/", "Origin: https://app.example\r\nAuthorization: Bearer k\r\n");
  EXPECT_EQ(answer.headers.at("access-control-allow-origin"), "https://app.example");
  config.allow_origins = {"app.example"};
  EXPECT_THROW(HttpServer(config, {}), Error);
}

TEST_F(HttpAccessTest, EchoesOnlySaneRequestIds) {
  HttpServer server(TestConfig(), [](HttpRequest request, std::shared_ptr<HttpReply> reply) {
    reply->Respond({.body = request.request_id});
  });
  TestClient client(server.port());
  EXPECT_EQ(client.Get("/", "X-Request-Id: abc-1.2:3\r\n").headers.at("x-request-id"), "abc-1.2:3");
  const std::string first = client.Get("/", "X-Request-Id: a\"b\r\n").body;
  EXPECT_EQ(first.size(), 16u);
  EXPECT_NE(client.Get("/").body, first);
  EXPECT_EQ(client.Get("/", "X-Request-Id: " + std::string(129, 'a') + "\r\n").body.size(), 16u);
}

}  // namespace
}  // namespace cadre
