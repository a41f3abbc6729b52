// Products of packed panels on AMX: tiles of sixteen tokens meet sixteen rows. The integers are
// exact and what follows them is, operation by operation, what panel_dots_vnni_inl.h does: so are
// the bits.
#include "cpu/kernels_amx.h"

#include "cpu/kernels.h"

// The panels are read in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_avx512_inl.h"
#include "cpu/panel_types_inl.h"
#include "cpu/tiles_amx_inl.h"
#include "cpu/bf16_panels_amx_inl.h"
#include "cpu/panels_32_amx_inl.h"
#include "cpu/panels_256_amx_inl.h"
// clang-format on

namespace cadre {
namespace avx512 {
namespace {

// Fewer tokens than this leave most of a tile empty: vectors are sooner done.
constexpr int64_t kFewTokens = 12;

void AmxPanelDots(const PanelDots& dots) {
  if (dots.type == DType::kBF16) {
    RunBF16Panels(dots);
    return Release();
  }
  if (dots.type == DType::kF16 || dots.tiles.tokens <= kFewTokens)
    return Avx512Kernels().panels->dots(dots);
  WithPanel(dots.type, [&](auto panel) {
    using P = decltype(panel);
    if constexpr (P::kWide) {
      RunPanelsOf256<P>(dots);
    } else {
      RunPanelsOf32<P>(dots);
    }
  });
  Release();
}

double AmxPeak(int64_t rounds) {
  alignas(64) int8_t bytes[1024] = {};
  ConfigureTiles(16, 64);
  asm volatile("tileloadd (%0,%1,1), %%tmm4\n\ttileloadd (%0,%1,1), %%tmm6" ::"r"(bytes),
               "r"(int64_t{64})
               : "memory");
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "tdpbssd %tmm6, %tmm4, %tmm0\n\ttdpbssd %tmm6, %tmm4, %tmm1\n\t"
        "tdpbssd %tmm6, %tmm4, %tmm2\n\ttdpbssd %tmm6, %tmm4, %tmm3");
  Release();
  return static_cast<double>(rounds) * 4 * 2 * 16 * 16 * 64;
}

}  // namespace
}  // namespace avx512

const AmxKernelSet& AmxKernels() {
  static constexpr AmxKernelSet kSet = {.dots = avx512::AmxPanelDots, .peak = avx512::AmxPeak};
  return kSet;
}

}  // namespace cadre
