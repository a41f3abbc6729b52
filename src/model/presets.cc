#include "model/presets.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace cadre {
namespace {

struct Shape {
  const char* name;
  const char* architecture;
  int64_t dim, hidden_dim, layers, heads, kv_heads, vocab, context;
  double theta;
  int64_t experts;
};

constexpr Shape kShapes[] = {
    {"mixtral-8x7b", "mixtral", 4096, 14336, 32, 32, 8, 32000, 32768, 1e6, 8},
    {"mixtral-8x22b", "mixtral", 6144, 16384, 56, 48, 8, 32768, 65536, 1e6, 8},
    {"mistral-7b", "mistral", 4096, 14336, 32, 32, 8, 32768, 32768, 1e6, 1},
    {"llama-2-7b", "llama", 4096, 11008, 32, 32, 32, 32000, 4096, 1e4, 1},
    {"llama-2-70b", "llama", 8192, 28672, 80, 64, 8, 32000, 4096, 1e4, 1},
};

}  // namespace

const std::vector<std::string>& PresetNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Shape& shape : kShapes) list.emplace_back(shape.name);
    return list;
  }();
  return names;
}

ModelConfig Preset(const std::string& name) {
  for (const Shape& shape : kShapes) {
    if (name != shape.name) continue;
    ModelConfig config;
    config.architecture = shape.architecture;
    config.dim = shape.dim;
    config.hidden_dim = shape.hidden_dim;
    config.num_layers = shape.layers;
    config.num_heads = shape.heads;
    config.num_kv_heads = shape.kv_heads;
    config.head_dim = shape.dim / shape.heads;
    config.vocab_size = shape.vocab;
    config.context_length = shape.context;
    config.rope_theta = shape.theta;
    config.router.num_experts = shape.experts;
    config.router.top_k = shape.experts > 1 ? 2 : 1;
    config.Validate(name);
    return config;
  }
  throw Error("there is no preset '{}' but {}", Printable(name), fmt::join(PresetNames(), ", "));
}

}  // namespace cadre
