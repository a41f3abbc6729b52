// Writes GGUF version 3, little-endian, alignment 32, tensors one after another: what llama.cpp and
// its relatives read. A stream: set the metadata, declare every tensor, append their bytes in the
// same order, Commit. Until then nothing is seen at `path`. Refuses tensor names of 64 bytes and
// more, which other readers refuse too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/atomic_file.h"
#include "formats/gguf.h"
#include "tensor/dtype.h"

namespace cadre {

class GgufWriter {
 public:
  static constexpr uint64_t kAlignment = 32;

  // With a work (AtomicFile) an unfinished file stays as PATH.partial, for Resume.
  explicit GgufWriter(std::string path, std::string work = {});

  // Metadata, in the order of the calls. A key given twice or a call after the first Append is a
  // CADRE_CHECK.
  void SetU16(std::string_view key, uint16_t value);
  void SetU32(std::string_view key, uint32_t value);
  void SetI32(std::string_view key, int32_t value);
  void SetU64(std::string_view key, uint64_t value);
  void SetF32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStringArray(std::string_view key, std::span<const std::string> values);
  void SetStringArray(std::string_view key, std::span<const std::string_view> values);
  void SetF32Array(std::string_view key, std::span<const float> values);
  void SetI32Array(std::string_view key, std::span<const int32_t> values);
  void SetU32Array(std::string_view key, std::span<const uint32_t> values);
  // The same key, type and value as in another file. What describes the other file itself
  // (general.alignment, split.*) is left out.
  void Copy(const GgufEntry& entry);

  // `shape` is row-major, [rows, cols] or [experts, rows, cols] (the file stores it reversed); cols
  // must be a multiple of the block. Throws Error for a name too long, 1 to 4 dimensions not met,
  // or a row that is no whole number of blocks.
  void Declare(const std::string& name, DType type, std::span<const int64_t> shape);
  // Of what stands before the tensors, when all are declared.
  uint64_t header_bytes() const { return Header().size(); }
  // After all declarations: how many tensors an earlier writer of the same work and header has left
  // whole, from the first. Append goes on with the next.
  size_t Resume();
  // Bytes of the declared tensors in order, in pieces of any size; the padding between tensors is
  // not the caller's business.
  void Append(std::span<const std::byte> bytes);
  // All bytes are on disk; only Commit is to come. CADRE_CHECKs that all declared bytes came.
  void Seal();
  // Seals and gives the file its name. Throws Error when it cannot be completed.
  void Commit();

 private:
  void BeginEntry(std::string_view key, GgufType type);
  void BeginArray(std::string_view key, GgufType element, uint64_t count);
  std::string Header() const;
  void WriteHeader();
  void Pad();

  std::string path_;
  AtomicFile file_;
  std::string metadata_;  // encoded
  std::string infos_;     // encoded
  std::unordered_set<std::string> keys_;
  std::unordered_set<std::string> names_;
  std::vector<uint64_t> tensor_bytes_;  // without padding
  uint64_t data_bytes_ = 0;
  size_t current_tensor_ = 0;
  uint64_t current_bytes_ = 0;  // of current_tensor_, appended so far
  bool header_written_ = false;
};

}  // namespace cadre
