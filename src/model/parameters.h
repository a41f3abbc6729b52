// All weights of a model as one float32 arena: for training and for what it writes. Gradients and
// optimiser moments are arenas of the same layout, so "the gradient of this weight" is an offset.
#pragma once

#include <string>
#include <vector>

#include "model/weights.h"
#include "tensor/buffer.h"

namespace cadre {

struct Parameter {
  std::string name;  // Hugging Face name
  int64_t rows = 0;
  int64_t cols = 0;    // 1 row for a norm
  int64_t offset = 0;  // in floats, a multiple of 16
  bool is_norm = false;
  bool is_router_noise = false;  // W_noise: of the training state, in no model's files

  int64_t size() const { return rows * cols; }
};

class ParameterLayout {
 public:
  explicit ParameterLayout(const ModelConfig& config);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const ModelConfig& config() const { return config_; }
  // Floats of an arena.
  int64_t size() const { return size_; }

  // The model whose weights are the arena's floats.
  Model Bind(float* arena) const;

 private:
  Parameter& Add(std::string name, int64_t rows, int64_t cols, bool is_norm = false);

  ModelConfig config_;
  std::vector<Parameter> parameters_;
  int64_t size_ = 0;
};

// Copies every weight of `model` (any stored type, any RoPE layout) into an arena of
// ParameterLayout(model.config), decoded to float32 and with Hugging Face's row order.
void CopyToArena(const Model& model, float* arena);
// The same into an arena of a layout that may have W_noise beside what the model has; that is left
// as it is.
void CopyToArena(const Model& model, const ParameterLayout& layout, float* arena);

}  // namespace cadre
