// The matrices of a model that inputs are multiplied with, by the names importance matrices call
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/tensor_plan.h"
#include "model/weights.h"

namespace cadre {

struct NamedMatrix {
  std::string name;  // of its tensor in GGUF, which holds all experts of a layer
  TensorRole role;
  int64_t layer;   // -1: the head
  int64_t expert;  // -1: no expert's
  const Weight* weight;
};

// Routers too. The model must outlive the list.
std::vector<NamedMatrix> MatricesOf(const Model& model);

}  // namespace cadre
