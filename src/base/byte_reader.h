// The one way to read numbers and strings out of bytes from outside: every read is checked against
// what is left, and every failure is an Error that names the file, the offset and what was being
// read. Little-endian. Never allocates by a count it has not checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace cadre {

// a * b and a + b of sizes from outside; throws Error("{what}: ... overflows") instead of wrapping.
uint64_t CheckedMul(uint64_t a, uint64_t b, std::string_view what);
uint64_t CheckedAdd(uint64_t a, uint64_t b, std::string_view what);

class ByteReader {
 public:
  // `name` is the file or part of it, for messages. The bytes must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }
  const std::string& name() const { return name_; }

  template <typename T>
  T Read(std::string_view what) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    T value;
    std::memcpy(&value, Take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  // The next `size` bytes, in place.
  std::span<const std::byte> Take(uint64_t size, std::string_view what);

  // Characters, in place; any byte may occur in them.
  std::string_view TakeText(uint64_t size, std::string_view what);

  // Throws unless `count` records of at least `min_record_bytes` each can still follow.
  void ExpectRoomFor(uint64_t count, uint64_t min_record_bytes, std::string_view what) const;

  void Skip(uint64_t size, std::string_view what) { Take(size, what); }

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
  uint64_t offset_ = 0;
};

}  // namespace cadre
