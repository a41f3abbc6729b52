#include "base/random.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace cadre {

std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t stream, uint64_t counter) {
  std::array<uint32_t, 4> x = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                               static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * x[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<uint32_t>(product1 >> 32) ^ x[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ x[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return x;
}

uint64_t Random::NextU64() {
  const auto words = Philox(seed_, stream_, counter_++);
  return uint64_t{words[1]} << 32 | words[0];
}

double Random::NextDouble() { return static_cast<double>(NextU64() >> 11) * 0x1p-53; }

uint64_t Random::NextBelow(uint64_t bound) {
  CADRE_CHECK(bound > 0);
  const uint64_t threshold = -bound % bound;  // values below it would make some results likelier
  for (;;) {
    const unsigned __int128 product = static_cast<unsigned __int128>(NextU64()) * bound;
    if (static_cast<uint64_t>(product) >= threshold) return static_cast<uint64_t>(product >> 64);
  }
}

double Random::NextNormal() {
  const auto words = Philox(seed_, stream_, counter_++);
  const double u =
      (static_cast<double>(uint64_t{words[1]} << 21 ^ words[0] >> 11) + 1) * 0x1p-53;  // (0, 1]
  const double v = (static_cast<double>(uint64_t{words[3]} << 21 ^ words[2] >> 11)) * 0x1p-53;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

}  // namespace cadre
