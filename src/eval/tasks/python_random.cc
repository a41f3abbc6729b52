#include "eval/tasks/python_random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <unordered_set>

#include "base/error.h"

namespace cadre {
namespace {

constexpr size_t kWords = 624;

// init_by_array of the twister's authors: hands the engine its state.
class ArraySeed {
 public:
  using result_type = uint32_t;

  explicit ArraySeed(uint64_t seed) {
    std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
    if (seed >> 32 != 0) key.push_back(static_cast<uint32_t>(seed >> 32));
    state_[0] = 19650218;
    for (size_t i = 1; i < kWords; ++i)
      state_[i] = 1812433253u * Folded(i) + static_cast<uint32_t>(i);
    size_t i = 1;
    const auto advance = [&] {
      if (++i < kWords) return;
      state_[0] = state_[kWords - 1];
      i = 1;
    };
    for (size_t k = 0; k < kWords; ++k) {
      const size_t j = k % key.size();
      state_[i] = (state_[i] ^ (Folded(i) * 1664525u)) + key[j] + static_cast<uint32_t>(j);
      advance();
    }
    for (size_t k = 1; k < kWords; ++k) {
      state_[i] = (state_[i] ^ (Folded(i) * 1566083941u)) - static_cast<uint32_t>(i);
      advance();
    }
    state_[0] = 0x80000000u;
  }

  template <typename Iterator>
  void generate(Iterator begin, Iterator end) const {
    for (size_t i = 0; begin != end; ++begin) *begin = state_[i++ % kWords];
  }

 private:
  uint32_t Folded(size_t i) const { return state_[i - 1] ^ (state_[i - 1] >> 30); }

  std::array<uint32_t, kWords> state_;
};

// Where random.sample goes over from a shrinking pool to a set of what was drawn.
uint32_t LargestPool(uint32_t count) {
  uint32_t size = 21;
  if (count <= 5) return size;
  uint32_t power = 1;
  while (power < count * 3) power *= 4;
  return size + power;
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  ArraySeed state(seed);
  words_.seed(state);
}

uint32_t PythonRandom::Below(uint32_t bound) {
  CADRE_CHECK(bound > 0);
  const int bits = std::bit_width(bound);
  uint32_t value;
  do {
    value = static_cast<uint32_t>(words_()) >> (32 - bits);
  } while (value >= bound);
  return value;
}

std::vector<uint32_t> PythonRandom::Sample(uint32_t size, uint32_t count) {
  CADRE_CHECK(count <= size);
  std::vector<uint32_t> sample(count);
  if (size <= LargestPool(count)) {
    std::vector<uint32_t> pool(size);
    std::iota(pool.begin(), pool.end(), 0u);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t j = Below(size - i);
      sample[i] = pool[j];
      pool[j] = pool[size - i - 1];
    }
    return sample;
  }
  std::unordered_set<uint32_t> drawn;
  for (uint32_t& number : sample) {
    do {
      number = Below(size);
    } while (!drawn.insert(number).second);
  }
  return sample;
}

}  // namespace cadre
