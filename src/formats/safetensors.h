// Safetensors files: read in place from a mapped file, written as a stream. The header is
// untrusted: its size, JSON, types, shapes and offsets are all checked before a tensor is handed
// out (no holes, overlaps, or bytes that belong to nobody). Refuses to guess: an unknown element
// type or a duplicate name is an Error. Tensor data may be misaligned and is not looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "tensor/dtype.h"

namespace cadre {

// The limit of the reference implementation.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// Every element type of the format; only F32, F16 and BF16 can be weights.
enum class SafetensorsType : uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,  //
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
  kF4,
  kF6E2M3,
  kF6E3M2,
};

// The name in files ("BF16", "I64") and the bits of one element.
std::string_view Name(SafetensorsType type);
int Bits(SafetensorsType type);
// The weight type of the same layout, if there is one.
std::optional<DType> ToDType(SafetensorsType type);
// F32, F16 or BF16; a block-quantised type has no safetensors form and is a CADRE_CHECK.
SafetensorsType ToSafetensorsType(DType type);

struct SafetensorsEntry {
  std::string name;
  SafetensorsType type;
  std::vector<int64_t> shape;  // row-major; empty for a scalar; a dimension may be 0
  std::span<const std::byte> data;
};

class SafetensorsFile {
 public:
  // Maps `path`. Throws Error naming the file and what is wrong.
  static SafetensorsFile Open(const std::string& path);
  // The same from memory; `bytes` must outlive the result, `name` is for messages.
  static SafetensorsFile Parse(std::span<const std::byte> bytes, std::string name);

  // In the order of their data in the file.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  // Null when there is none.
  const SafetensorsEntry* Find(std::string_view name) const;
  // The "__metadata__" member; empty when absent.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& name() const { return name_; }
  uint64_t bytes() const { return num_bytes_; }  // of the file
  // The whole file as Open mapped it; empty after Parse.
  std::span<const std::byte> mapped() const { return file_.bytes(); }

 private:
  SafetensorsFile() = default;

  MappedFile file_;
  std::string name_;
  uint64_t num_bytes_ = 0;
  std::vector<SafetensorsEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// Declare every tensor, then append their bytes in the same order, in pieces of any size, then
// Commit. Until then nothing is seen at `path`. The header carries {"format": "pt"} and whatever
// `metadata` adds; the data starts at a multiple of 64.
class SafetensorsWriter {
 public:
  // With a work (AtomicFile) an unfinished file stays as PATH.partial, for Resume.
  explicit SafetensorsWriter(std::string path, std::map<std::string, std::string> metadata = {},
                             std::string work = {});

  // Throws Error when the tensor would start at no multiple of its element (declare the wider types
  // first). A name given twice or a call after the first Append is a CADRE_CHECK.
  void Declare(const std::string& name, SafetensorsType type, std::span<const int64_t> shape);
  void Declare(const std::string& name, DType type, std::span<const int64_t> shape) {
    Declare(name, ToSafetensorsType(type), shape);
  }
  // After all declarations: how many tensors an earlier writer of the same work and header has left
  // whole, from the first. Append goes on with the next.
  size_t Resume();
  void Append(std::span<const std::byte> bytes);
  // All bytes are on disk; only Commit is to come. CADRE_CHECKs that all declared bytes came.
  void Seal();
  // Seals and gives the file its name. Throws Error when it cannot be completed.
  void Commit();

 private:
  std::string Header() const;
  void WriteHeader();

  struct Declared {
    std::string name;
    SafetensorsType type;
    std::vector<int64_t> shape;
    uint64_t begin;
    uint64_t end;
  };
  std::string path_;
  AtomicFile file_;
  std::map<std::string, std::string> metadata_;
  std::vector<Declared> declared_;
  std::unordered_set<std::string> names_;
  uint64_t declared_bytes_ = 0;
  uint64_t appended_bytes_ = 0;
  bool header_written_ = false;
};

}  // namespace cadre
