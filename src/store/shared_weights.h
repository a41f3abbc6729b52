// What every token needs (embedding, attention, routers, head), read into memory of its own and
// kept there, as the device packs it where it does: no page of it can be taken away, and none
// counts twice.
#pragma once

#include "base/huge_memory.h"
#include "model/weights.h"
#include "store/expert_slots.h"
#include "store/loader.h"

namespace cadre {

class SharedWeights {
 public:
  static int64_t Bytes(const Model& model, KeptForm form, const Device& device);

  // Reads them and points the model's shared matrices to them. Throws Error as Loader::Wait does.
  SharedWeights(Model& model, const WeightFiles& files, const Device& device, KeptForm form,
                Loader& loader);

 private:
  HugeMemory memory_;
};

}  // namespace cadre
