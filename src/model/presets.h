// The published models that Cadre is made for, as configurations.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace cadre {

// "mixtral-8x7b", "mixtral-8x22b", "mistral-7b", "llama-2-7b", "llama-2-70b".
const std::vector<std::string>& PresetNames();

// Throws Error for another name.
ModelConfig Preset(const std::string& name);

}  // namespace cadre
