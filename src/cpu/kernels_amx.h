// What AMX adds to the kernels of AVX-512.
#pragma once

#include <cstdint>

#include "cpu/panels.h"

namespace cadre {

struct AmxKernelSet {
  void (*dots)(const PanelDots& dots);  // as PanelKernels::dots, tiles of at most 16 tokens
  double (*peak)(int64_t rounds);       // as PeakLoops
};

const AmxKernelSet& AmxKernels();

}  // namespace cadre
