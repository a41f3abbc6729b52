// The memory of a store's experts: slots of one size, each with room for the largest expert of the
// model, and where each expert's matrices lie in the files.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/huge_memory.h"
#include "model/weights.h"
#include "ops/device.h"
#include "store/loader.h"
#include "store/weight_files.h"

namespace cadre {

// How experts and shared weights are kept.
enum class KeptForm {
  kStored,  // as in the file
  kPacked,  // as the device packs them, where it does: with rounded activations it reads only that
};

// Bytes of one matrix in that form.
int64_t KeptBytes(const Weight& w, KeptForm form, const Device& device);
// Whether the packed form is the one.
bool IsKeptPacked(const Weight& w, KeptForm form, const Device& device);

// Makes `w` read what is kept of it at `memory`.
void PointTo(const std::byte* memory, bool is_packed, Weight& w);

// Where each matrix of an expert begins in a slot, and how long that is.
struct SlotLayout {
  std::array<int64_t, 3> begin{};
  int64_t bytes = 0;
};
// For every expert of the model.
SlotLayout SlotLayoutOf(const Model& model, KeptForm form, const Device& device);

class ExpertSlots {
 public:
  // What it is given must outlive it; the files are the model's.
  ExpertSlots(const Model& model, const WeightFiles& files, const Device& device, KeptForm form,
              int64_t count);

  // What is to be loaded so that the slot holds the expert.
  void Describe(int64_t layer, int64_t expert, int64_t slot, Load& load) const;
  // Of the expert in the file.
  int64_t FileBytes(int64_t layer, int64_t expert) const;
  // The expert as it is in the slot, once it is loaded.
  ExpertWeights Weights(int64_t layer, int64_t expert, int64_t slot) const;

 private:
  const ExpertWeights& Stored(int64_t layer, int64_t expert) const;
  std::byte* At(int64_t slot, size_t matrix) const;

  const Model& model_;
  const WeightFiles& files_;
  const Device& device_;
  KeptForm form_;
  SlotLayout layout_;
  HugeMemory memory_;
};

}  // namespace cadre
