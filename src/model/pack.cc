#include "model/pack.h"

#include <vector>

namespace cadre {
namespace {

constexpr size_t kAlignment = 4096;

std::vector<Weight*> Matrices(ModelWeights& weights) {
  std::vector<Weight*> matrices;
  for (auto& layer : weights.layers) {
    for (Weight* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) matrices.push_back(w);
    for (auto& expert : layer.experts)
      for (Weight* w : {&expert.w1, &expert.w2, &expert.w3}) matrices.push_back(w);
  }
  matrices.push_back(&weights.head);
  return matrices;
}

size_t PaddedBytes(const Device& device, const Weight& w) {
  return (static_cast<size_t>(device.PackedBytes(w)) + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::optional<HugeMemory> PackMatrices(Model& model, Device& device, const PackObserver& observer) {
  const auto matrices = Matrices(model.weights);
  size_t bytes = 0;
  for (const Weight* w : matrices) bytes += PaddedBytes(device, *w);
  if (bytes == 0) return HugeMemory();
  const size_t available = AvailableMemory();
  if (available > 0 && bytes > available / 10 * 9) return std::nullopt;
  // Kernels fetch a little ahead of what they read.
  HugeMemory memory(bytes + kAlignment);
  size_t at = 0;
  for (Weight* w : matrices) {
    if (device.PackedBytes(*w) == 0) continue;
    if (observer.before) observer.before(*w);
    device.Pack(*w, memory.data() + at);
    w->packed = memory.data() + at;
    at += PaddedBytes(device, *w);
    if (observer.after) observer.after(*w);
  }
  return memory;
}

}  // namespace cadre
