#include "quantize/mix.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "base/error.h"

namespace cadre {
namespace {

constexpr Mix kMixes[] = {
    {"Q8_0", DType::kQ8_0, 7},    {"Q6_K", DType::kQ6_K, 18},     {"Q5_1", DType::kQ5_1, 9},
    {"Q5_K_M", DType::kQ5_K, 17}, {"Q5_K_S", DType::kQ5_K, 16},   {"Q5_0", DType::kQ5_0, 8},
    {"Q4_1", DType::kQ4_1, 3},    {"Q4_K_M", DType::kQ4_K, 15},   {"Q4_K_S", DType::kQ4_K, 14},
    {"Q4_0", DType::kQ4_0, 2},    {"IQ4_NL", DType::kIQ4_NL, 25}, {"IQ4_XS", DType::kIQ4_XS, 30},
    {"Q3_K_L", DType::kQ3_K, 13}, {"Q3_K_M", DType::kQ3_K, 12},   {"Q3_K_S", DType::kQ3_K, 11},
    {"Q2_K", DType::kQ2_K, 10},
};

bool Is(const Mix& mix, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), mix.name) != names.end();
}

// The first and the last eighth of the layers, and every third between.
bool TakesMore(int64_t layer, int64_t num_layers) {
  const int64_t eighth = num_layers / 8;
  return layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2;
}

// Values of attention, in a model that has not eight experts.
DType ValueType(const Mix& mix, int64_t layer, const ModelConfig& config) {
  const bool shared_by_four = config.num_heads / config.num_kv_heads >= 4;
  DType type = mix.base;
  if (mix.name == "Q2_K") type = shared_by_four ? DType::kQ4_K : DType::kQ3_K;
  if (mix.name == "Q3_K_M") type = layer < 2 ? DType::kQ5_K : DType::kQ4_K;
  if (mix.name == "Q3_K_L") type = DType::kQ5_K;
  if (mix.name == "Q4_K_S" && layer < 4) type = DType::kQ5_K;
  if (Is(mix, {"Q4_K_M", "Q5_K_M"}) && TakesMore(layer, config.num_layers)) type = DType::kQ6_K;
  if (Is(mix, {"IQ4_NL", "IQ4_XS"}) && shared_by_four) type = DType::kQ5_K;
  // Llama 2 70B: eight heads share one value, so that more bits of it cost next to nothing.
  const bool is_70b = config.num_layers == 80 && config.num_heads != config.num_kv_heads;
  if (is_70b && (type == DType::kQ3_K || type == DType::kQ4_K)) type = DType::kQ5_K;
  return type;
}

DType OutputType(const Mix& mix, bool eight_experts) {
  if (eight_experts) {
    const bool better =
        Is(mix, {"Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS"});
    return better ? DType::kQ5_K : mix.base;
  }
  if (mix.name == "Q2_K") return DType::kQ3_K;
  if (mix.name == "Q3_K_M") return DType::kQ4_K;
  if (mix.name == "Q3_K_L") return DType::kQ5_K;
  return mix.base;
}

DType DownType(const Mix& mix, int64_t layer, int64_t num_layers) {
  if (mix.name == "Q2_K") return DType::kQ3_K;
  if (mix.name == "Q3_K_M") return layer < num_layers / 16 ? DType::kQ5_K : DType::kQ4_K;
  if (mix.name == "Q3_K_L") return DType::kQ5_K;
  if (Is(mix, {"Q4_K_S", "IQ4_NL", "IQ4_XS"}) && layer < num_layers / 8) return DType::kQ5_K;
  if (Is(mix, {"Q4_K_M", "Q5_K_M"}) && TakesMore(layer, num_layers)) return DType::kQ6_K;
  return mix.base;
}

}  // namespace

std::span<const Mix> AllMixes() { return kMixes; }

const Mix* FindMix(std::string_view name) {
  std::string wanted(name);
  for (char& c : wanted) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (wanted == "Q3_K" || wanted == "Q4_K" || wanted == "Q5_K") wanted += "_M";
  const auto* found = std::find_if(std::begin(kMixes), std::end(kMixes),
                                   [&](const Mix& mix) { return mix.name == wanted; });
  return found == std::end(kMixes) ? nullptr : found;
}

DType TypeInMix(const Mix& mix, TensorRole role, int64_t layer, const ModelConfig& config) {
  const bool eight_experts = config.router.num_experts == 8;
  const DType head = mix.base == DType::kQ8_0 ? DType::kQ8_0 : DType::kQ6_K;
  switch (role) {
    case TensorRole::kHead:
      return head;
    case TensorRole::kEmbedding:
      return config.tie_embeddings ? head : mix.base;
    case TensorRole::kKey:
      return eight_experts ? DType::kQ8_0 : mix.base;
    case TensorRole::kValue:
      return eight_experts ? DType::kQ8_0 : ValueType(mix, layer, config);
    case TensorRole::kOutput:
      return OutputType(mix, eight_experts);
    case TensorRole::kDown:
      return DownType(mix, layer, config.num_layers);
    case TensorRole::kQuery:
    case TensorRole::kGate:
    case TensorRole::kUp:
    case TensorRole::kGateUp:
      return mix.base;
    case TensorRole::kNorm:
    case TensorRole::kRouter:
      break;
  }
  CADRE_CHECK(false && "norms and routers are in no mix");
  return mix.base;
}

}  // namespace cadre
