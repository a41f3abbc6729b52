// The keys that open the server. Only their digests are kept; a comparison takes the same time
// whatever is presented and wherever it differs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cadre {

class ApiKeys {
 public:
  // No keys: nothing is asked for.
  ApiKeys() = default;
  // One key a line; blank lines and lines that begin with # are skipped, spaces around a key too.
  // Throws Error when the file cannot be read, holds no key, or a key with a space or a control
  // character in it.
  static ApiKeys Read(const std::string& path);

  bool empty() const { return digests_.empty(); }
  size_t size() const { return digests_.size(); }
  // Whether `key` is one of them; all are looked at.
  bool Holds(std::string_view key) const;
  // Whether the value of an Authorization header carries one: "Bearer KEY", or "Basic" with the
  // key as password and any user.
  bool Admits(std::string_view authorization) const;

 private:
  using Digest = std::array<uint8_t, 32>;  // SHA-256
  static Digest DigestOf(std::string_view key);

  std::vector<Digest> digests_;
};

// The key that an Authorization header presents; nothing for another scheme or bad base64.
std::optional<std::string> PresentedKey(std::string_view authorization);

}  // namespace cadre
