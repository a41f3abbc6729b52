#include "server/tls.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/testing.h"
#include "server/http_test_client.h"

namespace cadre {
namespace {

using base_testing::TempFolder;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Session = std::unique_ptr<SSL, decltype(&SSL_free)>;

void WritePem(const std::string& path, const auto& write) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  CADRE_CHECK(file != nullptr && write(file) == 1);
  std::fclose(file);
}

Key MakeKey(const std::string& path) {
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  WritePem(path, [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return key;
}

// Of `key`, for localhost, signed by itself.
void MakeCertificate(EVP_PKEY* key, const std::string& path) {
  const Certificate certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  CADRE_CHECK(X509_sign(certificate.get(), key, EVP_sha256()) > 0);
  WritePem(path, [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); });
}

class TlsTest : public testing::Test {
 protected:
  TlsTest() {
    const Key key = MakeKey(folder_ / "key.pem");
    MakeCertificate(key.get(), folder_ / "cert.pem");
    MakeKey(folder_ / "other.pem");
    config_.tls_cert_file = folder_ / "cert.pem";
    config_.tls_key_file = folder_ / "key.pem";
  }
  // A client that trusts this certificate only.
  Context ClientContext() const {
    Context context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    SSL_CTX_load_verify_locations(context.get(), config_.tls_cert_file.c_str(), nullptr);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    return context;
  }

  TempFolder folder_;
  HttpServerConfig config_ = TestConfig();
};

// The shaken hands of a client, or null.
Session Connect(SSL_CTX* context, const TestClient& client) {
  Session session(SSL_new(context), SSL_free);
  SSL_set_fd(session.get(), client.descriptor());
  if (SSL_connect(session.get()) != 1) session.reset();
  return session;
}

void Send(SSL* session, const std::string& bytes) {
  CADRE_CHECK(SSL_write(session, bytes.data(), static_cast<int>(bytes.size())) ==
              static_cast<int>(bytes.size()));
}

// All up to and with `end`.
std::string ReadTo(SSL* session, std::string_view end) {
  std::string text;
  char bytes[4096];
  while (text.find(end) == std::string::npos) {
    const int size = SSL_read(session, bytes, sizeof(bytes));
    if (size <= 0) break;
    text.append(bytes, static_cast<size_t>(size));
  }
  return text;
}

TEST_F(TlsTest, CarriesAnswersAndStreams) {
  HttpServer server(config_, [](HttpRequest request, std::shared_ptr<HttpReply> reply) {
    if (request.path == "/whole") return reply->Respond({.body = request.body + "."});
    reply->StartStream({.content_type = "text/event-stream"});
    for (int i = 0; i < 100; ++i) reply->Write(std::string(10'000, 's'));
    reply->Finish();
  });
  EXPECT_TRUE(server.url().starts_with("https://127.0.0.1:"));
  const Context context = ClientContext();
  TestClient socket(server.port());
  const Session session = Connect(context.get(), socket);
  ASSERT_NE(session, nullptr);
  const std::string body(100'000, 'b');
  for (int i = 0; i < 3; ++i) {
    Send(session.get(),
         "POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
    Send(session.get(), body);
    EXPECT_TRUE(ReadTo(session.get(), "b.").ends_with("\r\n\r\n" + body + "."));
  }
  Send(session.get(), "GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string stream = ReadTo(session.get(), "\r\n0\r\n\r\n");
  EXPECT_EQ(std::count(stream.begin() + static_cast<std::ptrdiff_t>(stream.find("\r\n\r\n")),
                       stream.end(), 's'),
            1'000'000);
  char byte;
  EXPECT_EQ(SSL_read(session.get(), &byte, 1), 0);
  EXPECT_EQ(SSL_get_error(session.get(), 0), SSL_ERROR_ZERO_RETURN);  // said its end
}

TEST_F(TlsTest, RefusesOldVersions) {
  HttpServer server(config_, {});
  const Context context = ClientContext();
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION);
  const TestClient socket(server.port());
  EXPECT_EQ(Connect(context.get(), socket), nullptr);
}

TEST_F(TlsTest, EndsClientsThatNeverShakeHands) {
  config_.limits.header_s = 0.2;
  HttpServer server(config_, {});
  TestClient silent(server.port());
  TestClient plain(server.port());
  plain.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  plain.ReadToEnd();
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_TRUE(Eventually([&] { return server.num_connections() == 0; }));
}

TEST_F(TlsTest, NoticesThatAClientHasGone) {
  std::atomic<int> gone = 0;
  std::shared_ptr<HttpReply> kept;
  std::atomic<bool> asked = false;
  HttpServer server(config_, [&](HttpRequest, std::shared_ptr<HttpReply> reply) {
    reply->OnGone([&] { ++gone; });
    reply->StartStream({});
    kept = std::move(reply);
    asked = true;
  });
  {
    const Context context = ClientContext();
    TestClient socket(server.port());
    const Session session = Connect(context.get(), socket);
    ASSERT_NE(session, nullptr);
    Send(session.get(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_TRUE(Eventually([&] { return asked.load(); }));
  }
  EXPECT_TRUE(Eventually([&] { return gone == 1; }));
}

TEST_F(TlsTest, NamesTheFileThatIsWrong) {
  const std::string cert = config_.tls_cert_file;
  const std::string key = config_.tls_key_file;
  std::ofstream(folder_ / "text.pem") << "no certificate";
  EXPECT_THROW(MakeTlsContext(folder_ / "missing.pem", key), Error);
  EXPECT_THROW(MakeTlsContext(folder_ / "text.pem", key), Error);
  EXPECT_THROW(MakeTlsContext(cert, folder_ / "text.pem"), Error);
  EXPECT_THROW(MakeTlsContext(cert, folder_ / "other.pem"), Error);  // another one's key
  config_.tls_key_file.clear();
  EXPECT_THROW(HttpServer(config_, {}), Error);
}

}  // namespace
}  // namespace cadre
