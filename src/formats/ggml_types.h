// The element types that GGUF files can name, also those Cadre cannot compute with: enough to find
// where their bytes end and to say what they are. Refuses nothing; an id outside the table has no
// size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cadre {

struct GgmlType {
  uint32_t id;
  std::string_view name;
  int block_elems;
  int block_bytes;
};

// Null for an id of no known size.
const GgmlType* FindGgmlType(uint32_t id);

// "Q4_K", "IQ2_XS", or "unknown type 97".
std::string GgmlTypeName(uint32_t id);

}  // namespace cadre
