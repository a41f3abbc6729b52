#include "cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "base/error.h"

namespace cadre {
namespace {

// Leaf 1, ecx bit 29; __builtin_cpu_supports does not know it by name everywhere.
bool HasF16c() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// Tiles are a state so large that Linux keeps it for those only who ask.
bool HasAmx() {
  constexpr unsigned kTileBit = 1u << 24, kInt8Bit = 1u << 25, kBF16Bit = 1u << 22;  // leaf 7, edx
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kWanted = kTileBit | kInt8Bit | kBF16Bit;
  if ((edx & kWanted) != kWanted) return false;
  static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return permitted;
}

}  // namespace

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512Bw:
      return "avx512bw";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAmx:
      return "amx";
  }
  CADRE_CHECK(false && "an Isa outside the list");
  return {};
}

bool HasIsa(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
    case Isa::kAvx512Bw:
      return HasIsa(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::kAvx512:
      return HasIsa(Isa::kAvx512Bw) && __builtin_cpu_supports("avx512vnni");
    case Isa::kAmx:
      return HasIsa(Isa::kAvx512) && HasAmx();
  }
  return false;
}

Isa DetectIsa() {
  Isa widest = Isa::kScalar;
  for (const Isa isa : kAllIsas) {
    if (HasIsa(isa)) widest = isa;
  }
  return widest;
}

Isa ParseIsa(std::string_view name) {
  std::string here;
  for (const Isa isa : kAllIsas) {
    if (!HasIsa(isa)) continue;
    if (IsaName(isa) == name) return isa;
    here += here.empty() ? "" : ", ";
    here += IsaName(isa);
  }
  throw Error("instruction set: is {} but must be one that this machine has: {}", Printable(name),
              here);
}

}  // namespace cadre
