// Any bytes as a safetensors file: an Error or a file whose every tensor lies within the bytes.
#include <cstdint>

#include "base/error.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = cadre::SafetensorsFile::Parse(bytes, "fuzz");
    size_t total = 0;
    for (const auto& entry : file.entries()) {
      CADRE_CHECK(file.Find(entry.name) == &entry);
      if (entry.data.empty()) continue;
      CADRE_CHECK(entry.data.data() >= bytes.data() &&
                  entry.data.data() + entry.data.size() <= bytes.data() + bytes.size());
      total += entry.data.size();
    }
    CADRE_CHECK(total < size);
  } catch (const cadre::Error&) {
  }
  return 0;
}
