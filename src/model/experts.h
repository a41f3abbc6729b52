// Where a layer's experts come from. The MoE asks for an expert when its rows are due and says when
// it is done with it, so a source may keep all of them in memory (here) or fetch them.
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace cadre {

class ExpertSource {
 public:
  virtual ~ExpertSource() = default;
  // The expert's weights, valid until Release. Called by one thread.
  virtual const ExpertWeights& Acquire(int64_t layer, int64_t expert) = 0;
  virtual void Release(int64_t layer, int64_t expert) = 0;
};

// All experts are in memory (or mapped).
class ResidentExperts : public ExpertSource {
 public:
  explicit ResidentExperts(const ModelWeights& weights) : weights_(weights) {}
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override {
    return weights_.layers[static_cast<size_t>(layer)].experts[static_cast<size_t>(expert)];
  }
  void Release(int64_t, int64_t) override {}

 private:
  const ModelWeights& weights_;
};

}  // namespace cadre
