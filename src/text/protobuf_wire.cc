#include "text/protobuf_wire.h"

#include <bit>

#include "base/error.h"

namespace cadre::protobuf {
namespace {

uint64_t ReadVarint(ByteReader& reader) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = reader.Read<uint8_t>("varint");
    if (shift == 63 && byte > 1) break;
    value |= uint64_t{byte & 0x7Fu} << shift;
    if ((byte & 0x80u) == 0) return value;
  }
  throw Error("{}: the varint before byte {} is longer than 64 bits", reader.name(),
              reader.offset());
}

void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>((value & 0x7Fu) | 0x80u));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

}  // namespace

Field ReadField(ByteReader& reader) {
  const uint64_t offset = reader.offset();
  const uint64_t tag = ReadVarint(reader);
  const uint64_t number = tag >> 3;
  if (number == 0 || number >= (uint64_t{1} << 29)) {
    throw Error("{}: the field number at byte {} is {} but must be from 1 to 2^29-1", reader.name(),
                offset, number);
  }
  Field field{.number = static_cast<uint32_t>(number),
              .wire_type = static_cast<WireType>(tag & 7u)};
  switch (field.wire_type) {
    case WireType::kVarint:
      field.number_value = ReadVarint(reader);
      return field;
    case WireType::kFixed64:
      field.number_value = reader.Read<uint64_t>("fixed64");
      return field;
    case WireType::kBytes:
      field.bytes = reader.Take(ReadVarint(reader), "field");
      return field;
    case WireType::kFixed32:
      field.number_value = reader.Read<uint32_t>("fixed32");
      return field;
  }
  throw Error("{}: the wire type at byte {} is {} but must be 0, 1, 2 or 5", reader.name(), offset,
              tag & 7u);
}

void PutNumber(std::string& out, uint32_t field, uint64_t value) {
  PutVarint(out, uint64_t{field} << 3 | static_cast<uint32_t>(WireType::kVarint));
  PutVarint(out, value);
}

void PutId(std::string& out, uint32_t field, int32_t id) {
  PutNumber(out, field, static_cast<uint64_t>(int64_t{id}));
}

void PutText(std::string& out, uint32_t field, std::string_view text) {
  PutVarint(out, uint64_t{field} << 3 | static_cast<uint32_t>(WireType::kBytes));
  PutVarint(out, text.size());
  out += text;
}

void PutFloat(std::string& out, uint32_t field, float value) {
  PutVarint(out, uint64_t{field} << 3 | static_cast<uint32_t>(WireType::kFixed32));
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<char>(bits >> shift & 0xFFu));
}

}  // namespace cadre::protobuf
