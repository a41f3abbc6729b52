#include "vowels.h"

#include <base/random.h>

#include <cmath>
#include <iterator>

namespace mixtures {

float ScaledF1(double f1) { return static_cast<float>((f1 - 510) / 180); }
float ScaledF2(double f2) { return static_cast<float>((f2 - 1630) / 480); }

Cases Speak(int speakers, uint64_t seed) {
  cadre::Random random(seed);
  Cases cases;
  for (int s = 0; s < speakers; ++s) {
    const double throat = std::exp(0.08 * random.NextNormal());
    for (int v = 0; v < static_cast<int>(std::size(kVowels)); ++v) {
      for (int again = 0; again < 2; ++again) {
        const double f1 = kVowels[v].f1 * throat * std::exp(0.13 * random.NextNormal());
        const double f2 = kVowels[v].f2 * throat * std::exp(0.08 * random.NextNormal());
        cases.x.insert(cases.x.end(), {ScaledF1(f1), ScaledF2(f2), 1});
        cases.target.push_back(kVowels[v].edge ? 2.0f : -2.0f);
        cases.vowel.push_back(v);
      }
    }
  }
  return cases;
}

}  // namespace mixtures
