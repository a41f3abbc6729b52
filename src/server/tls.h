// TLS for a server: certificate and key from PEM files, TLS 1.2 or later. Refuses what it cannot
// use, by name.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <string>

namespace cadre {

// Throws Error when a file cannot be read or holds no certificate or key, or when the key is
// another certificate's.
boost::asio::ssl::context MakeTlsContext(const std::string& cert_file, const std::string& key_file);

}  // namespace cadre
