// The instruction sets that kernels are compiled for, and which of them this machine runs.
#pragma once

#include <string_view>

namespace cadre {

enum class Isa {
  kScalar,
  kAvx2,      // with FMA and F16C
  kAvx512Bw,  // F, BW, DQ, VL, and all of kAvx2
  kAvx512,    // VNNI, and all of kAvx512Bw
  kAmx,       // tiles of bytes and BF16, and all of kAvx512
};

inline constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Bw, Isa::kAvx512,
                                   Isa::kAmx};

std::string_view IsaName(Isa isa);  // "scalar", "avx2", "avx512bw", "avx512", "amx"
// Whether processor and operating system run it.
bool HasIsa(Isa isa);
// The widest that the machine has.
Isa DetectIsa();
// By name. Throws Error for an unknown name, or one that the machine lacks.
Isa ParseIsa(std::string_view name);

}  // namespace cadre
