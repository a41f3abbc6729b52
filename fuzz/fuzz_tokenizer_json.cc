// Any bytes as tokenizer.json: a tokenizer that works, or one Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const cadre::Json json = cadre::ParseJson(text, "fuzz");
    // The file as its own configuration reaches those keys too.
    const cadre::Tokenizer tokenizer(
        cadre::ReadTokenizerJson(json, json.is_object() ? &json : nullptr, "fuzz"), "fuzz");
    tokenizer.Decode(tokenizer.Encode(text.substr(0, 4096)));
  } catch (const cadre::Error&) {
  }
  return 0;
}
