#include "server/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"

namespace cadre {
namespace {

constexpr std::string_view kSpaces = " \t\r\v\f";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0 || static_cast<size_t>(size) < padding) return std::nullopt;
  out.resize(static_cast<size_t>(size) - padding);
  return out;
}

bool HasScheme(std::string_view authorization, std::string_view scheme) {
  return authorization.size() > scheme.size() && authorization[scheme.size()] == ' ' &&
         std::equal(scheme.begin(), scheme.end(), authorization.begin(),
                    [](char lower, char c) { return (c | 0x20) == lower; });
}

}  // namespace

ApiKeys::Digest ApiKeys::DigestOf(std::string_view key) {
  Digest digest;
  CADRE_CHECK(EVP_Digest(key.data(), key.size(), digest.data(), nullptr, EVP_sha256(), nullptr) ==
              1);
  return digest;
}

ApiKeys ApiKeys::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error("{}: the API keys cannot be read: {}", path, std::strerror(errno));
  ApiKeys keys;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const std::string_view key = Trimmed(line);
    if (key.empty() || key.starts_with('#')) continue;
    if (std::any_of(key.begin(), key.end(),
                    [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; })) {
      throw Error("{}: line {} has a space inside its key: expected one key a line", path, number);
    }
    keys.digests_.push_back(DigestOf(key));
  }
  if (file.bad()) throw Error("{}: the API keys cannot be read: {}", path, std::strerror(errno));
  if (keys.empty()) throw Error("{}: holds no API key: expected one a line", path);
  return keys;
}

bool ApiKeys::Holds(std::string_view key) const {
  const Digest digest = DigestOf(key);
  int found = 0;
  for (const Digest& known : digests_) {
    found |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0 ? 1 : 0;
  }
  return found != 0;
}

bool ApiKeys::Admits(std::string_view authorization) const {
  const std::optional<std::string> key = PresentedKey(authorization);
  return key && Holds(*key);
}

std::optional<std::string> PresentedKey(std::string_view authorization) {
  if (HasScheme(authorization, "bearer")) return std::string(Trimmed(authorization.substr(7)));
  if (!HasScheme(authorization, "basic")) return std::nullopt;
  const std::optional<std::string> pair = DecodeBase64(Trimmed(authorization.substr(6)));
  if (!pair) return std::nullopt;
  const size_t colon = pair->find(':');
  if (colon == std::string::npos) return std::nullopt;
  return pair->substr(colon + 1);
}

}  // namespace cadre
