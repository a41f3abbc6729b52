// What the tests of this floor, and of those above it, share: the goldens of tests/ and a tiny
// random model.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/random.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/parameters.h"
#include "model/save.h"

namespace cadre::model_testing {

// The model of a golden: its folder, or the one GGUF file in it.
inline std::string GoldenPath(const std::string& name) {
  const char* root = std::getenv("CADRE_SOURCE_DIR");
  if (root == nullptr)
    throw std::runtime_error("CADRE_SOURCE_DIR is not set: run the tests through ctest");
  const std::string folder = std::string(root) + "/tests/goldens/" + name;
  const std::string gguf = folder + "/model.gguf";
  return std::filesystem::exists(gguf) ? gguf : folder;
}

inline ModelConfig TinyConfig() {
  ModelConfig config;
  config.dim = 16;
  config.hidden_dim = 24;
  config.num_layers = 2;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  config.vocab_size = 40;
  config.context_length = 64;
  config.rope_theta = 10000;
  config.router = {.num_experts = 4, .top_k = 2};
  return config;
}

// All weights, decoded to float32.
inline Buffer<float> ArenaOf(const Model& model) {
  Buffer<float> arena(ParameterLayout(model.config).size());
  CopyToArena(model, arena.data());
  return arena;
}

inline bool SameBits(const Buffer<float>& a, const Buffer<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(float)) == 0;
}

// Weights large enough that router picks are clear.
inline Buffer<float> RandomArena(const ParameterLayout& layout, uint64_t seed = 5) {
  Buffer<float> arena(layout.size());
  Random random(seed);
  for (const auto& p : layout.parameters()) {
    for (int64_t i = 0; i < p.size(); ++i) {
      arena[p.offset + i] =
          static_cast<float>(p.is_norm ? 1 + 0.1 * random.NextNormal() : 0.3 * random.NextNormal());
    }
  }
  return arena;
}

// The arena as one GGUF file whose matrices are `type`. `set_text` adds tokenizer metadata.
inline void SaveArenaAsGguf(
    const ModelConfig& config, const Buffer<float>& arena, DType type, const std::string& path,
    const std::function<void(GgufWriter&)>& set_text = [](GgufWriter&) {}) {
  ThreadPool threads(2);
  const Model model = ParameterLayout(config).Bind(const_cast<float*>(arena.data()));
  const SaveOptions options = {.layout = {}, .type_of = [=](const PlannedTensor& tensor) {
                                 return UniformType(tensor, type, TensorLayout::kGguf);
                               }};
  SaveGguf(model, options, threads, set_text, "name", path);
}

// The arena as a Hugging Face folder of float32.
inline void SaveArenaAsHuggingFace(const ModelConfig& config, const Buffer<float>& arena,
                                   const std::string& folder) {
  ThreadPool threads(2);
  SaveSafetensors(ParameterLayout(config).Bind(const_cast<float*>(arena.data())),
                  HuggingFaceFloats(), threads, folder);
}

// [ids, vocab] logits of one sequence on the reference device, exact path.
inline std::vector<float> ReferenceLogits(const Model& model, const std::vector<int32_t>& ids) {
  const auto device = MakeReferenceDevice();
  ResidentExperts experts(model.weights);
  KvPagePool pool(model.config.kv_shape(KvType::kF32));
  KvCache cache(pool);
  const auto count = static_cast<int64_t>(ids.size());
  cache.Reserve(count);
  const KvSequence sequence = cache.view();
  std::vector<int64_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> sequence_of_row(ids.size(), 0);
  const Batch batch{.ids = ids,
                    .positions = positions,
                    .sequence_of_row = sequence_of_row,
                    .sequences = {&sequence, 1},
                    .kv_type = KvType::kF32,
                    .wanted_rows = positions,
                    .router_limits = {}};
  Activations activations(model.config, Activations::Keep::kOneLayer);
  std::vector<float> logits(ids.size() * static_cast<size_t>(model.config.vocab_size));
  Forward(model, experts, *device, batch, {}, activations,
          {logits.data(), count, model.config.vocab_size});
  return logits;
}

}  // namespace cadre::model_testing
