#include "store/expert_slots.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

constexpr int64_t kAlignment = 64;
constexpr size_t kReadAhead = 4096;  // kernels fetch a little ahead of what they read

std::array<const Weight*, 3> MatricesOf(const ExpertWeights& expert) {
  return {&expert.w1, &expert.w2, &expert.w3};
}

}  // namespace

bool IsKeptPacked(const Weight& w, KeptForm form, const Device& device) {
  return form == KeptForm::kPacked && device.PackedBytes(w) > 0;
}

int64_t KeptBytes(const Weight& w, KeptForm form, const Device& device) {
  return IsKeptPacked(w, form, device) ? device.PackedBytes(w) : w.bytes();
}

void PointTo(const std::byte* memory, bool is_packed, Weight& w) {
  (is_packed ? w.packed : w.data) = memory;
}

SlotLayout SlotLayoutOf(const Model& model, KeptForm form, const Device& device) {
  std::array<int64_t, 3> longest{};
  for (const auto& layer : model.weights.layers) {
    for (const auto& expert : layer.experts) {
      const auto matrices = MatricesOf(expert);
      for (size_t m = 0; m < 3; ++m)
        longest[m] = std::max(longest[m], KeptBytes(*matrices[m], form, device));
    }
  }
  SlotLayout layout;
  for (size_t m = 0; m < 3; ++m) {
    layout.begin[m] = layout.bytes;
    layout.bytes += (longest[m] + kAlignment - 1) / kAlignment * kAlignment;
  }
  return layout;
}

ExpertSlots::ExpertSlots(const Model& model, const WeightFiles& files, const Device& device,
                         KeptForm form, int64_t count)
    : model_(model),
      files_(files),
      device_(device),
      form_(form),
      layout_(SlotLayoutOf(model, form, device)),
      memory_(static_cast<size_t>(layout_.bytes * count) + kReadAhead) {}

const ExpertWeights& ExpertSlots::Stored(int64_t layer, int64_t expert) const {
  return model_.weights.layers[static_cast<size_t>(layer)].experts[static_cast<size_t>(expert)];
}

std::byte* ExpertSlots::At(int64_t slot, size_t matrix) const {
  return memory_.data() + slot * layout_.bytes + layout_.begin[matrix];
}

void ExpertSlots::Describe(int64_t layer, int64_t expert, int64_t slot, Load& load) const {
  const auto matrices = MatricesOf(Stored(layer, expert));
  load.num_matrices = 3;
  for (size_t m = 0; m < 3; ++m) {
    const auto place = files_.Find(matrices[m]->data);
    CADRE_CHECK(place.has_value());
    load.matrices[m] = {.shape = *matrices[m],
                        .from = *place,
                        .packs = IsKeptPacked(*matrices[m], form_, device_),
                        .to = At(slot, m)};
  }
}

int64_t ExpertSlots::FileBytes(int64_t layer, int64_t expert) const {
  int64_t bytes = 0;
  for (const Weight* w : MatricesOf(Stored(layer, expert))) bytes += w->bytes();
  return bytes;
}

ExpertWeights ExpertSlots::Weights(int64_t layer, int64_t expert, int64_t slot) const {
  ExpertWeights kept = Stored(layer, expert);
  Weight* const matrices[] = {&kept.w1, &kept.w2, &kept.w3};
  for (size_t m = 0; m < 3; ++m)
    PointTo(At(slot, m), IsKeptPacked(*matrices[m], form_, device_), *matrices[m]);
  return kept;
}

}  // namespace cadre
