// The usual mixes of quantised GGUF files: most matrices of one type, those that quality hangs on
// of a better one. Names and choices are those of llama.cpp 0.7.0 (compared tensor by tensor with
// what its quantiser plans for Mixtral 8x7B and 8x22B, Mistral 7B, Llama 7B and 70B), of which
// files with eight experts have their own: attention is small beside the experts, so it costs
// little to keep it well.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "model/config.h"
#include "model/tensor_plan.h"

namespace cadre {

struct Mix {
  std::string_view name;  // "Q4_K_M"
  DType base;             // of most matrices
  uint32_t file_type;     // general.file_type of the GGUF file
};

std::span<const Mix> AllMixes();  // by bits
// Case does not matter. "q3_k", "q4_k" and "q5_k" are the M mixes. Null: there is none.
const Mix* FindMix(std::string_view name);

// The type of a matrix in a mix, before its width is looked at (FittingType). `role` is no norm and
// no router; `layer` counts where the role lies in layers.
DType TypeInMix(const Mix& mix, TensorRole role, int64_t layer, const ModelConfig& config);

}  // namespace cadre
