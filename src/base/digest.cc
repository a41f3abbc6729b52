#include "base/digest.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/error.h"

namespace cadre {

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest(DigestKind kind, uint64_t size) : state_(std::make_unique<State>()) {
  const EVP_MD* algorithm = kind == DigestKind::kSha256 ? EVP_sha256() : EVP_sha1();
  if (state_->context == nullptr || EVP_DigestInit_ex(state_->context, algorithm, nullptr) != 1)
    throw Error("the checksum library refuses its work");
  if (kind == DigestKind::kSha256) return;
  const std::string head = fmt::format("blob {}", size);
  Add(std::as_bytes(std::span(head.c_str(), head.size() + 1)));  // with the zero
}

Digest::~Digest() = default;

void Digest::Add(std::span<const std::byte> bytes) {
  CADRE_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Digest::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CADRE_CHECK(EVP_DigestFinal_ex(state_->context, digest, &size) == 1);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string Sha256(std::span<const std::byte> bytes) {
  Digest digest(DigestKind::kSha256, bytes.size());
  digest.Add(bytes);
  return digest.Finish();
}

bool IsDigest(DigestKind kind, const std::string& text) {
  return text.size() == (kind == DigestKind::kSha256 ? 64u : 40u) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace cadre
