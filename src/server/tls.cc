#include "server/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/error.h"

namespace cadre {
namespace {

std::string Reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  const std::string text = reason != nullptr ? reason : "unknown reason";
  ERR_clear_error();
  return text;
}

// Of the protocols a client offers, the only one spoken here.
int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* offered, unsigned offered_size, void*) {
  static constexpr unsigned char kSpoken[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kSpoken, sizeof(kSpoken) - 1, offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

boost::asio::ssl::context MakeTlsContext(const std::string& cert_file,
                                         const std::string& key_file) {
  boost::asio::ssl::context context(boost::asio::ssl::context::tls_server);
  SSL_CTX* const native = context.native_handle();
  ERR_clear_error();
  CADRE_CHECK(SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) == 1);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);  // an idle connection holds none
  SSL_CTX_set_alpn_select_cb(native, SelectProtocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(native, cert_file.c_str()) != 1) {
    throw Error("{}: no TLS certificate: {}", cert_file, Reason());
  }
  if (SSL_CTX_use_PrivateKey_file(native, key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    throw Error("{}: no TLS key for {}: {}", key_file, cert_file, Reason());
  }
  if (SSL_CTX_check_private_key(native) != 1) {
    throw Error("{}: not the key of {}: {}", key_file, cert_file, Reason());
  }
  return context;
}

}  // namespace cadre
