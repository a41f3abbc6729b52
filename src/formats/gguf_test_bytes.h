// For tests: GGUF bytes made field by field, so that any of them can be wrong.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/gguf.h"

namespace cadre {

class GgufBytes {
 public:
  template <typename T>
  GgufBytes& Put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufBytes& Raw(std::string_view text) {
    text_ += text;
    return *this;
  }
  GgufBytes& Text(std::string_view text) { return Put<uint64_t>(text.size()).Raw(text); }
  GgufBytes& Header(uint64_t num_tensors, uint64_t num_entries, uint32_t version = 3) {
    return Raw("GGUF").Put(version).Put(num_tensors).Put(num_entries);
  }
  GgufBytes& Key(std::string_view key, GgufType type) {
    return Text(key).Put(static_cast<uint32_t>(type));
  }
  GgufBytes& Tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type,
                    uint64_t offset) {
    Text(name).Put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) Put(dim);
    return Put(type).Put(offset);
  }
  // Zeros to a multiple of `alignment`, then `bytes` of data.
  GgufBytes& Data(size_t bytes, size_t alignment = 32) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment, '\0');
    text_.append(bytes, 'd');
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

inline GgufFile ParseText(const std::string& bytes) {
  return GgufFile::Parse(std::as_bytes(std::span(bytes)), "t.gguf");
}

// The message of the Error that `action` throws.
template <typename F>
std::string MessageOf(F action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace cadre
