// GGUF files, versions 2 and 3, little-endian, read in place: metadata and tensor infos are checked
// when opened (every count, length, type id, offset; no overlaps), tensor data is not touched.
// Refuses version 1 and big-endian files. Element types that Cadre cannot compute with are listed
// all the same; only their use is an error. One part of a split file is one GgufFile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/dtype.h"

namespace cadre {

enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,  //
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

std::string_view Name(GgufType type);  // "u32", "string"

// An array still in the file; its elements were bounds-checked. Read it with GgufFile::Get*Array.
struct GgufArray {
  GgufType element;
  uint64_t count;
  std::span<const std::byte> bytes;
};

struct GgufValue {
  GgufType type;
  // By type: u* -> uint64_t, i* -> int64_t, f* -> double, bool, string (in the file), array.
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
};

struct GgufEntry {
  std::string_view key;
  GgufValue value;
};

struct GgufTensor {
  std::string name;
  uint32_t type_id;            // ggml's; see ggml_types.h
  std::optional<DType> dtype;  // when Cadre can compute with it
  std::vector<int64_t>
      dims;         // as in the file: dims[0] is the length of a row (1 to 4 of them, all >= 1)
  uint64_t offset;  // from the start of the data
  std::span<const std::byte> data;  // empty when has_known_size is false
  bool has_known_size;              // false for a type_id this program has never heard of
};

class GgufFile {
 public:
  // Maps `path`. Throws Error naming the file and what is wrong.
  static GgufFile Open(const std::string& path);
  // The same from memory; `bytes` must outlive the result, `name` is for messages.
  static GgufFile Parse(std::span<const std::byte> bytes, std::string name);
  static bool HasMagic(std::span<const std::byte> bytes);

  // Typed access. Every getter throws Error("{file}: {key} is {found} but must be {expected}") for
  // another type. Without a fallback, an absent key is an Error too. Integers may be of any width;
  // a float may be f32 or f64. What they return by view lives as long as this file.
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  const GgufValue* Find(std::string_view key) const;  // null when absent
  bool IsArray(std::string_view key) const;           // false when absent
  int64_t GetInt(std::string_view key) const;
  int64_t GetInt(std::string_view key, int64_t fallback) const;
  double GetFloat(std::string_view key) const;
  double GetFloat(std::string_view key, double fallback) const;
  bool GetBool(std::string_view key) const;
  bool GetBool(std::string_view key, bool fallback) const;
  std::string GetString(std::string_view key) const;
  std::string GetString(std::string_view key, std::string_view fallback) const;
  std::vector<std::string_view> GetStringArray(std::string_view key) const;
  std::vector<float> GetFloatArray(std::string_view key) const;
  std::vector<int64_t> GetIntArray(std::string_view key) const;

  const std::vector<GgufEntry>& entries() const { return entries_; }   // in file order
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in file order
  const GgufTensor* FindTensor(std::string_view name) const;           // null when absent
  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  const std::string& name() const { return name_; }
  uint64_t bytes() const { return num_bytes_; }  // of the file
  // The whole file as Open mapped it; empty after Parse.
  std::span<const std::byte> mapped() const { return file_.bytes(); }

 private:
  friend class GgufParser;
  GgufFile() = default;
  const GgufValue& Require(std::string_view key) const;
  const GgufArray& RequireArray(std::string_view key, std::string_view expected,
                                bool (*is_element)(GgufType)) const;

  MappedFile file_;
  std::string name_;
  uint64_t num_bytes_ = 0;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<GgufEntry> entries_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> key_index_;
  std::unordered_map<std::string, size_t> tensor_index_;
};

}  // namespace cadre
