// Memory of a run by its parts, with a budget or without. Pure but for what is asked about the
// device.
#pragma once

#include <cstdint>

#include "store/fitted_model.h"

namespace cadre {

// What a plan comes to, at most.
int64_t TotalBytes(const MemoryPlan& plan);

struct MemoryWish {
  int64_t budget = 0;     // bytes; 0: none, all experts stay
  int64_t available = 0;  // of the machine: a run without a budget may take nine tenths; 0: unknown
  int64_t process = 0;    // the program without the model
  KvType kv_type = KvType::kF16;
  KeptForm form = KeptForm::kPacked;
  int64_t max_guesses = 2;
};

// As a run with these needs would share it out. Without a budget, where not all is available, as
// with a budget of that (plan.budget says it). Throws Error naming the least budget when it is too
// small.
MemoryPlan PlanFor(const Model& model, const Device& device, int num_threads, const RunNeeds& needs,
                   const MemoryWish& wish);

}  // namespace cadre
