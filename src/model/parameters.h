// What is trained as one float32 arena: all weights of a model, or adapters beside one. Gradients
// and optimiser moments are arenas of the same layout, so "the gradient of this weight" is an
// offset.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/adapters.h"
#include "model/weights.h"
#include "tensor/buffer.h"

namespace cadre {

struct Parameter {
  std::string name;  // Hugging Face name; of an adapter MODULE.lora_A.weight or .lora_B.weight
  int64_t rows = 0;
  int64_t cols = 0;    // 1 row for a norm
  int64_t offset = 0;  // in floats, a multiple of 16
  bool is_norm = false;
  bool is_router_noise = false;  // W_noise: of the training state, in no model's files

  int64_t size() const { return rows * cols; }
};

class ParameterLayout {
 public:
  // All weights of a model.
  explicit ParameterLayout(const ModelConfig& config);
  // Adapters, `down` [rank, cols] before `up` [rows, rank], beside the weights of `base`, whose
  // bytes outlive this. Rows are in the base's order.
  ParameterLayout(const Model& base, std::vector<Adapter> adapters);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const ModelConfig& config() const { return config_; }
  // Floats of an arena.
  int64_t size() const { return size_; }

  // The adapters that it is of; empty when it is of all weights.
  const std::vector<Adapter>& adapters() const { return adapters_; }
  // Of an adapter, in the arena.
  LowRank LowRankOf(size_t adapter, float* arena) const;

  // The model whose weights are the arena's floats, or the base with the arena's adapters.
  Model Bind(float* arena) const;

 private:
  Parameter& Add(std::string name, int64_t rows, int64_t cols, bool is_norm = false);
  Model BindWeights(float* arena) const;
  Model BindAdapters(float* arena) const;

  ModelConfig config_;
  std::shared_ptr<const Model> base_;  // of adapters
  std::vector<Adapter> adapters_;
  std::vector<Parameter> parameters_;
  int64_t size_ = 0;
};

// LoRA's beginning: `up` is zero, so that nothing is added yet; `down` is uniform within
// 1 / sqrt(cols) (PEFT's Kaiming initialisation).
void InitialiseAdapters(const ParameterLayout& layout, uint64_t seed, float* arena);

// Copies every weight of `model` (any stored type, any RoPE layout) into an arena of
// ParameterLayout(model.config), decoded to float32 and with Hugging Face's row order.
void CopyToArena(const Model& model, float* arena);
// The same into an arena of a layout that may have W_noise beside what the model has; that is left
// as it is.
void CopyToArena(const Model& model, const ParameterLayout& layout, float* arena);

}  // namespace cadre
