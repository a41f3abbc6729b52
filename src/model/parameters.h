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
  int64_t Add(std::string name, int64_t rows, int64_t cols, bool is_norm = false);

  ModelConfig config_;
  std::vector<Parameter> parameters_;
  int64_t size_ = 0;
};

// Copies every weight of `model` (any stored type, any RoPE layout) into an arena of
// ParameterLayout(model.config), decoded to float32 and with Hugging Face's row order.
void CopyToArena(const Model& model, float* arena);

}  // namespace cadre
