// The task: made-up speakers say four vowels, and from two resonances of the voice one shall say
// whether the vowel lies on the edge of the mouth's range or inside. The front pair and the back
// pair want opposite answers to "is the first resonance high?", so no one straight line does it,
// and a line for each pair does. The numbers are ours, shaped like those of English vowels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mixtures {

struct Vowel {
  const char* name;
  double f1, f2;  // Hz, of the middle speaker
  bool edge;
};

inline constexpr Vowel kVowels[] = {{"i", 280, 2250, true},
                                    {"ɪ", 400, 1950, false},
                                    {"ʌ", 580, 1280, false},
                                    {"ɑ", 780, 1060, true}};

// T cases.
struct Cases {
  std::vector<float> x;       // [T, 3] scaled first and second resonance, and 1
  std::vector<float> target;  // [T] +2 on the edge, -2 inside: experts have a deviation of 1
  std::vector<int> vowel;     // [T] index into kVowels

  int64_t size() const { return static_cast<int64_t>(target.size()); }
};

// Every speaker says every vowel twice. A speaker's throat scales all his resonances.
Cases Speak(int speakers, uint64_t seed);

// Hz to the numbers a case holds.
float ScaledF1(double f1);
float ScaledF2(double f2);

}  // namespace mixtures
