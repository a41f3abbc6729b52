// Adapters in the format of the Python package PEFT: a folder with adapter_config.json and
// adapter_model.safetensors. Source: peft, src/peft/utils/save_and_load.py, tuners/lora/config.py.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "formats/safetensors.h"
#include "model/parameters.h"
#include "tensor/buffer.h"

namespace cadre {

inline constexpr const char* kAdapterConfigName = "adapter_config.json";
inline constexpr const char* kAdapterWeightsName = "adapter_model.safetensors";

struct StoredAdapters {
  ParameterLayout layout;
  Buffer<float> values;  // an arena of the layout

  // The base that they were read for, with them. Valid as long as this and the base's bytes.
  Model Bind() { return layout.Bind(values.data()); }
};

// Reads the adapters in `folder` for `base`. Experts may be adapted one by one
// (block_sparse_moe.experts.3.w1) or all of a layer together, as PEFT does it on transformers 5
// (mlp.experts). Throws Error naming the file and tensor for what is missing, of another shape than
// the base, or more than low ranks beside attention and experts (DoRA, biases, whole modules).
StoredAdapters LoadAdapters(const std::string& folder, const Model& base);
// The same from what the two files hold; `config_name` is for messages.
StoredAdapters ReadAdapters(const Json& config, const std::string& config_name,
                            const SafetensorsFile& weights, const Model& base);

// Writes an arena's adapters to an existing folder, one by one, as float32. `base_name`: what the
// configuration calls the model that they are beside. Files appear whole.
void SaveAdapters(const ParameterLayout& layout, const float* values, const std::string& base_name,
                  const std::string& folder);

}  // namespace cadre
