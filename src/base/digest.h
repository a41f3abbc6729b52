// Cryptographic checksums: what a hub publishes for its files, and what tells whether data is still
// the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace cadre {

enum class DigestKind {
  kSha256,   // of large files
  kGitBlob,  // SHA-1 of "blob SIZE\0" and the content: of small ones
};

class Digest {
 public:
  // `size`: bytes of the content (kGitBlob hashes it first).
  Digest(DigestKind kind, uint64_t size);
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void Add(std::span<const std::byte> bytes);
  // Lower-case hexadecimal; once.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-256 of the bytes.
std::string Sha256(std::span<const std::byte> bytes);

// Whether `text` is a digest of this kind, in lower-case hexadecimal.
bool IsDigest(DigestKind kind, const std::string& text);

}  // namespace cadre
