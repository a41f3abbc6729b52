// A model of any shape with weights of random numbers, for measuring speed where no checkpoint is
// at hand. Its routers spread tokens over the experts as those of trained models do; what it says
// means nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "base/huge_memory.h"
#include "model/weights.h"
#include "ops/device.h"
#include "tensor/buffer.h"

namespace cadre {

class SyntheticModel {
 public:
  // Matrices of `type` (of F32 for routers and norms), packed for the device where it packs that
  // type: then only the packed form takes memory. Throws Error when the memory is not there.
  SyntheticModel(const ModelConfig& config, DType type, Device& device);

  const Model& model() const { return model_; }

 private:
  Weight Matrix(DType type, int64_t rows, int64_t cols);
  std::span<const float> Norm();
  void Fill(const Weight& w);

  Model model_;
  HugeMemory stored_;  // of all matrices; touched only where they are not packed
  size_t used_ = 0;
  HugeMemory packed_;
  std::vector<Buffer<float>> floats_;  // norms and routers
  Buffer<std::byte> pattern_;          // encoded random rows, repeated everywhere
};

}  // namespace cadre
