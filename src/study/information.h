// How much one label says about another, from counts. Plug-in estimates are too high where counts
// are few; the correction is Miller and Madow's for each of the three entropies, with the cells
// that occur: bias = (cells - rows - columns + 1) / 2N nats.
#pragma once

#include <cstdint>
#include <span>

namespace cadre {

struct Information {
  double plugin_bits = 0;
  double corrected_bits = 0;
  int64_t samples = 0;
};

// counts: [rows, cols] of pairs of labels. Rows or columns without any do not count. All zero: 0.
Information MutualInformation(std::span<const int64_t> counts, int64_t cols);

// The mean of several tables' information, each weighted with its samples: I(X; Y | Z), a table for
// each z. counts: [tables, rows, cols].
Information ConditionalInformation(std::span<const int64_t> counts, int64_t rows, int64_t cols);

// Jensen-Shannon divergence of two sets of counts, in bits, each weighing a half: from 0 (the same
// shares) to 1 (nothing in common).
double JensenShannonBits(std::span<const int64_t> a, std::span<const int64_t> b);

// What two samples of one law differ by on average, in bits: (E - 1)(1/n_a + 1/n_b) / 8 nats.
double JensenShannonBias(int64_t num_experts, int64_t samples_a, int64_t samples_b);

}  // namespace cadre
