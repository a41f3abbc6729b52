// All experts of a model once more, in fewer bits and always in memory: what stands in for an
// expert that is not there yet. They come from any other quantisation of the same model.
#pragma once

#include <vector>

#include "base/huge_memory.h"
#include "model/load.h"
#include "store/expert_slots.h"
#include "store/loader.h"

namespace cadre {

class LowBitExperts {
 public:
  static int64_t Bytes(const Model& copy, KeptForm form, const Device& device);

  // Reads them. packer: of the reading thread alone, until this returns. Throws Error naming the
  // copy's file when it is not of this model (other shapes, other norms), or what Loader::Wait
  // throws. `copy` must outlive it.
  LowBitExperts(const LoadedModel& copy, const Model& model, KeptForm form, const Device& device,
                Device& packer, std::unique_ptr<DiskIo> io, const LoaderOptions& reading);

  const ExpertWeights& Get(int64_t layer, int64_t expert) const {
    return layers_[static_cast<size_t>(layer)][static_cast<size_t>(expert)];
  }

 private:
  HugeMemory memory_;
  std::vector<std::vector<ExpertWeights>> layers_;  // [layers][E]
};

// Throws Error naming the copy's file and the first thing in which it is another model.
void CheckIsCopy(const LoadedModel& copy, const Model& model);

}  // namespace cadre
