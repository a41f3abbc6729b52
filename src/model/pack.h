// All matrices of a model in the form that a device likes best.
#pragma once

#include <functional>
#include <optional>

#include "base/huge_memory.h"
#include "model/weights.h"
#include "ops/device.h"

namespace cadre {

// Called for each matrix that is packed: when its bytes are about to be read, and when they are
// needed no more, so that they need not all be in memory together.
struct PackObserver {
  std::function<void(const Weight&)> before = {};
  std::function<void(const Weight&)> after = {};
};

// Packs every matrix but the embedding (whose rows are looked up) and points the model's weights to
// the packed forms, which lie in the memory that is returned. None: that memory is not there; then
// nothing has changed.
std::optional<HugeMemory> PackMatrices(Model& model, Device& device,
                                       const PackObserver& observer = {});

}  // namespace cadre
