// A model that runs within a budget of bytes, for everything together: shared weights pinned, keys
// and values bounded, experts fetched into what is left. The bits are those of the model in memory.
#pragma once

#include <memory>

#include "model/load.h"
#include "store/expert_store.h"
#include "store/loader.h"
#include "store/memory_plan.h"
#include "store/shared_weights.h"
#include "store/weight_files.h"

namespace cadre {

// What a run will need besides weights.
struct RunNeeds {
  int64_t step_tokens = 1;  // rows of the largest step
  int64_t choices = 0;      // experts that a row may choose at most; 0: the model's own
  int64_t logit_rows = 1;   // rows whose logits are there at a time
  int64_t other_bytes = 0;  // what the command makes of them
  int64_t least_pages = 1;  // of keys and values
  int64_t most_pages = 1;
};

struct FitOptions {
  int64_t budget = 0;  // bytes
  KvType kv_type = KvType::kF16;
  KeptForm form = KeptForm::kPacked;  // kPacked only where all activations are rounded
  int64_t max_guesses = 2;
  CachePolicy policy = CachePolicy::kFrequency;
  MissPolicy misses = {};
  const LoadedModel* low_bit = nullptr;  // with OnMiss::kLowBit: the same model in fewer bits
  DiskIoMaker try_uring = TryUringIo;
};

// How a model's files are read. Pieces are no longer than the largest matrix is worth, no shorter
// than its rows want.
LoaderOptions ReadingOf(const ModelWeights& weights);

// What the run costs, but for what the process has already.
MemoryCosts CostsOf(const Model& model, const Device& device, int num_threads,
                    const RunNeeds& needs, KeptForm form);

class FittedModel {
 public:
  // Reads what every token needs, and all of options.low_bit's experts. packer: a device of the
  // same kind on one thread, for the reading thread alone. What is given must outlive it. Throws
  // Error naming the least budget when this one is too small, or what LowBitExperts and
  // Loader::Wait throw.
  FittedModel(const LoadedModel& loaded, Device& device, Device& packer, const RunNeeds& needs,
              const FitOptions& options);

  const Model& model() const { return model_; }
  ExpertSource& experts() { return *experts_; }
  const MemoryPlan& plan() const { return plan_; }

 private:
  Model model_;
  WeightFiles files_;
  MemoryPlan plan_;
  std::unique_ptr<LowBitExperts> low_bit_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<SharedWeights> shared_;
  std::unique_ptr<ExpertStore> experts_;
};

}  // namespace cadre
