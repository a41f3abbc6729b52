// Any bytes as a config.json, as a params.json, as a hub's listing, and as a training
// configuration: one Error or a valid result, never a crash.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "hub/repository.h"
#include "model/config_files.h"
#include "train/train_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const cadre::Json json = cadre::ParseJson(text, "config.json");
    try {
      const auto config = cadre::ConfigFromJson(json, "config.json");
      cadre::SuspiciousSettings(config);
    } catch (const cadre::Error&) {
    }
    try {
      cadre::ConfigFromParams(json, "params.json");
    } catch (const cadre::Error&) {
    }
    try {
      cadre::ChooseFiles(cadre::ParseRepository(json, "owner/name"), {}, "owner/name");
    } catch (const cadre::Error&) {
    }
    cadre::ParseTrainConfig(json, {}, "train.json");
  } catch (const cadre::Error&) {
  }
  return 0;
}
