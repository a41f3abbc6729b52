// The CPU as a Device, on the kernels of one instruction set. Cuts every operation by output rows,
// never within a sum, so neither threads nor batch show in the bits. One caller at a time: the
// scratch is the device's own.
#pragma once

#include <memory>

#include "base/thread_pool.h"
#include "cpu/isa.h"
#include "ops/device.h"

namespace cadre {

// `isa` must be one that the machine has; the pool must outlive the device.
std::unique_ptr<Device> MakeCpuDevice(Isa isa, ThreadPool& threads);

}  // namespace cadre
