// How much a model's output suffers from errors in a tensor: each tensor alone is rounded to four
// bits (all experts' matrices of a kind together), a short text is run, and the Kullback-Leibler
// divergence from what the model says otherwise is divided by the squared error that the rounding
// puts into the tensor's own output. Nothing is assumed of what follows the tensor.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "engine/sequence.h"
#include "formats/imatrix.h"

namespace cadre {

struct SensitivityOptions {
  int64_t tokens = 512;   // of the text; fewer where it is shorter
  int64_t context = 512;  // ids in a window
  int32_t bos_id = -1;    // takes the place of each window's first id; -1: nothing does
  std::function<void(int64_t done, int64_t total)> on_progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

// By the tensor's name in GGUF: nats per unit of squared error that one token meets (summed over
// the tensor's outputs, and the experts it is routed to). `matrix` is of the same model: it says
// what inputs the tensors meet. Tensors whose width no four-bit type fits, or that meet no input,
// are left out. Memory: the largest tensor, in four bits, and twice the logits of the text.
std::map<std::string, float> MeasureSensitivity(const Model& model, const ImportanceMatrix& matrix,
                                                Device& device, std::span<const int32_t> ids,
                                                const SensitivityOptions& options);

}  // namespace cadre
