// The wire format of protobuf, as much of it as sentencepiece's model file uses: fields read one by
// one from checked bytes, and written. Refuses groups and varints over 64 bits. Knows no message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/byte_reader.h"

namespace cadre::protobuf {

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number;
  WireType wire_type;
  uint64_t number_value = 0;              // varint and fixed
  std::span<const std::byte> bytes = {};  // length-delimited
};

// The next field. Throws Error("{reader's name}: ...").
Field ReadField(ByteReader& reader);

void PutNumber(std::string& out, uint32_t field, uint64_t value);
// A negative int32 is sign-extended to 64 bits on the wire.
void PutId(std::string& out, uint32_t field, int32_t id);
void PutText(std::string& out, uint32_t field, std::string_view text);
void PutFloat(std::string& out, uint32_t field, float value);

}  // namespace cadre::protobuf
