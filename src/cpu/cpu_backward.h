// The backward operations on a processor: an instruction set's kernels under a thread pool. Bits
// depend on the instruction set and the arguments only, never on the number of threads.
#pragma once

#include <memory>

#include "base/thread_pool.h"
#include "cpu/isa.h"
#include "ops/backward.h"

namespace cadre {

// `threads` must outlive what is returned, which serves one caller at a time. Aborts if the machine
// lacks `isa`.
std::unique_ptr<BackwardOps> MakeCpuBackward(Isa isa, ThreadPool& threads);

}  // namespace cadre
