// What this machine does with a model's matrices, measured in a few seconds on random numbers of
// the same shapes and types: nothing of the model is read but, for the disk, some of its experts.
#pragma once

#include <map>

#include "ops/kv_view.h"
#include "plan/predict.h"
#include "store/expert_slots.h"
#include "store/weight_files.h"

namespace cadre {

struct MeasureOptions {
  KeptForm form = KeptForm::kPacked;
  ActivationType activation = ActivationType::kRounded;
  KvType kv_type = KvType::kF16;
  double seconds = 0.04;  // for one product; a little more where one takes longer
  int rounds = 3;         // these seconds are shared by: what disturbs for a moment disturbs one
};

// Products and packing of every type and shape in the model, and of `others`; everything else of a
// layer. packer: of one thread. Takes some 300 MB of memory.
void MeasureModel(const Model& model, const std::map<DType, MatrixShape>& others,
                  const RunShape& run, const MeasureOptions& options, Device& device,
                  Device& packer, Machine& machine);

// Reads some experts of the model's files as the store does, past the page cache. Throws Error
// naming the file and the byte where reading fails.
DiskSpeed MeasureDisk(const Model& model, WeightFiles& files, double seconds);

}  // namespace cadre
