#include "base/byte_reader.h"

namespace cadre {

uint64_t CheckedMul(uint64_t a, uint64_t b, std::string_view what) {
  uint64_t result;
  if (__builtin_mul_overflow(a, b, &result))
    throw Error("{}: {} * {} overflows 64 bits", what, a, b);
  return result;
}

uint64_t CheckedAdd(uint64_t a, uint64_t b, std::string_view what) {
  uint64_t result;
  if (__builtin_add_overflow(a, b, &result))
    throw Error("{}: {} + {} overflows 64 bits", what, a, b);
  return result;
}

std::span<const std::byte> ByteReader::Take(uint64_t size, std::string_view what) {
  if (size > remaining()) {
    throw Error("{}: {} at byte {} needs {} bytes, but only {} are left", name_, what, offset_,
                size, remaining());
  }
  const auto taken = bytes_.subspan(offset_, size);
  offset_ += size;
  return taken;
}

std::string_view ByteReader::TakeText(uint64_t size, std::string_view what) {
  const auto taken = Take(size, what);
  return {reinterpret_cast<const char*>(taken.data()), taken.size()};
}

void ByteReader::ExpectRoomFor(uint64_t count, uint64_t min_record_bytes,
                               std::string_view what) const {
  if (count > remaining() / min_record_bytes) {
    throw Error("{}: {} says {} at byte {}, but the {} bytes left hold at most {}", name_, what,
                count, offset_, remaining(), remaining() / min_record_bytes);
  }
}

}  // namespace cadre
