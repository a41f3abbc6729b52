// Inverted dropout (Srivastava et al., JMLR 2014) with a mask that is a pure function of seed,
// stream and element, so the backward is the same call on the gradient and nothing is stored.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "tensor/mat.h"

namespace cadre {

// Multiplies each element by 0 with probability `rate` (in [0, 1)), else by 1 / (1 - rate).
void Dropout(Mat<float> x, float rate, uint64_t seed, uint64_t stream, ThreadPool& threads);

}  // namespace cadre
