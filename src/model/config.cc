#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cadre {
namespace {

constexpr int64_t kMaxDim = int64_t{1} << 20;

void ExpectRange(const std::string& name, const char* field, int64_t value, int64_t min,
                 int64_t max) {
  if (value < min || value > max) {
    throw Error("{}: {} is {} but must be from {} to {}", name, field, value, min, max);
  }
}

struct KnownModel {
  const char* name;
  int64_t num_experts, dim, num_layers;
  std::vector<int64_t> vocab_sizes;
  double theta;
  int64_t min_context;
};

}  // namespace

void ModelConfig::Validate(const std::string& name) const {
  ExpectRange(name, "hidden size", dim, 1, kMaxDim);
  ExpectRange(name, "expert hidden size", hidden_dim, 1, kMaxDim);
  ExpectRange(name, "number of layers", num_layers, 1, 1024);
  ExpectRange(name, "number of heads", num_heads, 1, 4096);
  ExpectRange(name, "number of key/value heads", num_kv_heads, 1, num_heads);
  ExpectRange(name, "head dimension", head_dim, 2, kMaxHeadDim);
  ExpectRange(name, "vocabulary size", vocab_size, 1, int64_t{1} << 24);
  ExpectRange(name, "context length", context_length, 1, INT32_MAX);
  ExpectRange(name, "sliding window", sliding_window, 0, INT32_MAX);
  ExpectRange(name, "number of experts", router.num_experts, 1, 4096);
  ExpectRange(name, "experts per token", router.top_k, 1, router.num_experts);
  if (architecture == kUnnormalisedArchitecture)
    ExpectRange(name, "number of experts", router.num_experts, 2, 4096);
  if (num_heads % num_kv_heads != 0) {
    throw Error("{}: {} heads are not a multiple of {} key/value heads", name, num_heads,
                num_kv_heads);
  }
  if (head_dim % 2 != 0) throw Error("{}: head dimension is {} but must be even", name, head_dim);
  if (!(rope_theta > 0) || !std::isfinite(rope_theta)) {
    throw Error("{}: rope_theta is {} but must be positive", name, rope_theta);
  }
  if (!(rms_norm_eps >= 0) || !std::isfinite(rms_norm_eps)) {
    throw Error("{}: rms_norm_eps is {} but must not be negative", name, rms_norm_eps);
  }
  if (bos_id >= vocab_size)
    throw Error("{}: bos token {} is outside the vocabulary of {}", name, bos_id, vocab_size);
  for (const int32_t id : eos_ids) {
    if (id >= vocab_size)
      throw Error("{}: eos token {} is outside the vocabulary of {}", name, id, vocab_size);
  }
}

namespace {

int64_t Parameters(const ModelConfig& c, int64_t experts) {
  const int64_t attention = 2 * c.dim * c.q_dim() + 2 * c.dim * c.kv_dim();
  const int64_t router = c.router.dense() ? 0 : c.dim * c.router.num_experts;
  const int64_t layer = attention + router + experts * 3 * c.dim * c.hidden_dim + 2 * c.dim;
  return c.num_layers * layer + c.dim + (c.tie_embeddings ? 1 : 2) * c.vocab_size * c.dim;
}

}  // namespace

int64_t ModelConfig::TotalParameters() const { return Parameters(*this, router.num_experts); }
int64_t ModelConfig::ActiveParameters() const { return Parameters(*this, router.top_k); }

std::vector<std::string> SuspiciousSettings(const ModelConfig& config) {
  const std::vector<KnownModel> known = {
      {"Mixtral 8x7B", 8, 4096, 32, {32000}, 1e6, 32768},
      {"Mixtral 8x22B", 8, 6144, 56, {32000, 32768}, 1e6, 65536},
  };
  std::vector<std::string> warnings;
  for (const auto& model : known) {
    const bool same = config.router.num_experts == model.num_experts && config.dim == model.dim &&
                      config.num_layers == model.num_layers;
    if (!same) continue;
    if (config.rope_theta != model.theta) {
      warnings.push_back(
          fmt::format("rope theta is {} but {} was published with {}: answers will be wrong",
                      config.rope_theta, model.name, model.theta));
    }
    if (config.sliding_window != 0) {
      warnings.push_back(fmt::format("sliding window is {} but {} attends to everything",
                                     config.sliding_window, model.name));
    }
    if (std::find(model.vocab_sizes.begin(), model.vocab_sizes.end(), config.vocab_size) ==
        model.vocab_sizes.end()) {
      warnings.push_back(fmt::format("vocabulary is {} but {} was published with {}",
                                     config.vocab_size, model.name,
                                     fmt::join(model.vocab_sizes, " or ")));
    }
    if (config.context_length < model.min_context) {
      warnings.push_back(fmt::format("context is {} but {} was published with {}",
                                     config.context_length, model.name, model.min_context));
    }
  }
  if (config.architecture == "mistral" && config.dim == 4096 && config.num_layers == 32) {
    const bool v1 = config.rope_theta == 1e4 && config.sliding_window == 4096;
    const bool later = config.rope_theta == 1e6 && config.sliding_window == 0;
    if (!v1 && !later) {
      warnings.push_back(
          fmt::format("rope theta {} with window {}: Mistral 7B was published with 10000 and 4096 "
                      "(v0.1) or 1000000 and none",
                      config.rope_theta, config.sliding_window));
    }
  }
  return warnings;
}

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<size_t>(config.head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(config.rope_theta,
                              -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
  }
  return frequencies;
}

}  // namespace cadre
