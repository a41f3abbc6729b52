// Which tensors a file of a layout holds for a model, and where the bytes of each come from. Pure:
// nothing is read or written.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/tensor_names.h"
#include "model/weights.h"

namespace cadre {

// How a layer's experts lie in a file.
enum class ExpertLayout {
  kSeparate,  // a tensor for each matrix of each expert
  kMerged,    // a 3-D tensor for each of gate, down, up: GGUF
  kFused,     // gate and up in one 3-D tensor, down in another: GGUF, Hugging Face
};

struct FileLayout {
  TensorLayout names = TensorLayout::kGguf;
  ExpertLayout experts = ExpertLayout::kMerged;  // of no meaning in a dense model

  RopeLayout rope() const {
    return names == TensorLayout::kHuggingFace ? RopeLayout::kHalfSplit : RopeLayout::kInterleaved;
  }
};

// What a tensor is in the model; types are chosen by it.
enum class TensorRole {
  kEmbedding,
  kHead,
  kNorm,
  kQuery,
  kKey,
  kValue,
  kOutput,
  kRouter,
  kGate,
  kDown,
  kUp,
  kGateUp,
};

struct PlannedTensor {
  std::string name;
  TensorRole role;
  int64_t layer;               // -1 outside the layers
  std::vector<int64_t> shape;  // row-major
  std::vector<Weight> parts;   // what stands in it, one after another
  DType type = DType::kF32;    // to store it as

  int64_t cols() const { return shape.back(); }
};

// Throws Error when the layout cannot hold the experts so. Types are all kF32 still.
std::vector<PlannedTensor> PlanTensors(const Model& model, const FileLayout& layout);

// The type of all parts, or the one with most bits where they differ.
DType StoredType(const PlannedTensor& tensor);

// `wanted`, or the next better type whose blocks divide rows of `cols` values, F16 at the end: the
// choices of llama.cpp.
DType FittingType(DType wanted, int64_t cols);

// The types of a file whose matrices are all `wanted`. In GGUF norms and routers are F32; in
// safetensors (where `wanted` is a float type) they are `wanted` where that holds them exactly,
// else F32.
DType UniformType(const PlannedTensor& tensor, DType wanted, TensorLayout layout);

}  // namespace cadre
