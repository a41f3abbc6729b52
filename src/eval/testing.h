// A small model with all that scores continuations with it, for the tests of this floor.
#pragma once

#include "engine/test_model.h"
#include "eval/likelihood.h"

namespace cadre::eval_testing {

struct SmallScorer {
  explicit SmallScorer(testing_model::SmallModel small_model = testing_model::MakeSmallModel(),
                       int64_t max_kv_bytes = int64_t{1} << 30)
      : small(std::move(small_model)),
        experts(small.model.weights),
        device(MakeReferenceDevice()),
        scorer(small.model, experts, *device, kExactPath, max_kv_bytes) {}

  testing_model::SmallModel small;
  ResidentExperts experts;
  std::unique_ptr<Device> device;
  LikelihoodScorer scorer;
};

}  // namespace cadre::eval_testing
