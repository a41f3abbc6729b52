// Any bytes as a GGUF file: an Error or a file whose every tensor lies within the bytes, whose
// every array can be read, whose metadata is a configuration or an Error, and a tokenizer or an
// Error.
#include <cstdint>

#include "base/error.h"
#include "engine/open.h"
#include "formats/gguf.h"
#include "model/config_files.h"

namespace {

template <typename F>
void Try(F action) {
  try {
    action();
  } catch (const cadre::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  Try([&] {
    const auto file = cadre::GgufFile::Parse(bytes, "fuzz");
    for (const auto& entry : file.entries()) {
      Try([&] { file.GetInt(entry.key); });
      Try([&] { file.GetFloat(entry.key); });
      Try([&] { file.GetString(entry.key); });
      Try([&] { file.GetStringArray(entry.key); });
      Try([&] { file.GetFloatArray(entry.key); });
      Try([&] { file.GetIntArray(entry.key); });
    }
    Try([&] { cadre::SuspiciousSettings(cadre::ConfigFromGguf(file, false)); });
    Try([&] {
      if (auto text = cadre::FindText(file)) {
        cadre::ChooseChatFormat(text->vocabulary, text->chat_template);
        const cadre::Tokenizer tokenizer(std::move(text->vocabulary), "fuzz");
        tokenizer.Decode(tokenizer.Encode("some <s> text"));
      }
    });
    for (const auto& tensor : file.tensors()) {
      CADRE_CHECK(file.FindTensor(tensor.name) == &tensor);
      if (tensor.data.empty()) continue;
      CADRE_CHECK(tensor.data.data() >= bytes.data() &&
                  tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    }
  });
  return 0;
}
