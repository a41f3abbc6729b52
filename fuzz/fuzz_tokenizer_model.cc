// Any bytes as tokenizer.model: a tokenizer that works, or one Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span<const uint8_t>(data, size));
    const cadre::Tokenizer tokenizer(cadre::ReadSentencePieceModel(bytes, "fuzz"), "fuzz");
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::vector<int32_t> ids = tokenizer.Encode(text.substr(0, 4096));
    tokenizer.Decode(ids);
  } catch (const cadre::Error&) {
  }
  return 0;
}
