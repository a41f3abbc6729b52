// How GGUF metadata values lie in a file: shared by the parser and the typed getters, of no use
// elsewhere.
#pragma once

#include <string>
#include <string_view>

#include "base/byte_reader.h"
#include "formats/gguf.h"

namespace cadre {

// Bytes of a value of fixed size; 0 for strings and arrays.
uint64_t FixedBytes(GgufType type);

// A number of fixed size, widened; strings, arrays and bools are a CADRE_CHECK.
GgufValue ReadGgufNumber(ByteReader& reader, GgufType type, std::string_view what);

// "the u32 7", "an array of 3 string": for messages.
std::string Describe(const GgufValue& value);

}  // namespace cadre
