#include "study/information.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace cadre {
namespace {

// sum n ln n and how many n are above 0, over some counts.
struct Occupied {
  double n_ln_n = 0;
  int64_t cells = 0;
  void Add(int64_t n) {
    if (n <= 0) return;
    n_ln_n += static_cast<double>(n) * std::log(static_cast<double>(n));
    ++cells;
  }
};

// N times the information, in nats, and 2N times its bias.
struct Table {
  double scaled = 0;
  int64_t bias = 0;
  int64_t samples = 0;
};

// I = H(X) + H(Y) - H(X, Y), H = ln N - sum n ln n / N.
Table TableOf(std::span<const int64_t> counts, int64_t cols) {
  Occupied joint, row_sums, col_sums;
  std::vector<int64_t> columns(static_cast<size_t>(cols));
  int64_t total = 0;
  for (size_t begin = 0; begin < counts.size(); begin += static_cast<size_t>(cols)) {
    int64_t row = 0;
    for (size_t c = 0; c < columns.size(); ++c) {
      joint.Add(counts[begin + c]);
      row += counts[begin + c];
      columns[c] += counts[begin + c];
    }
    row_sums.Add(row);
    total += row;
  }
  if (total == 0) return {};
  for (const int64_t column : columns) col_sums.Add(column);
  const double n_ln_n = static_cast<double>(total) * std::log(static_cast<double>(total));
  return {.scaled = n_ln_n + joint.n_ln_n - row_sums.n_ln_n - col_sums.n_ln_n,
          .bias = joint.cells - row_sums.cells - col_sums.cells + 1,
          .samples = total};
}

Information InformationOf(const Table& table) {
  if (table.samples == 0) return {};
  const auto n = static_cast<double>(table.samples);
  const double bits = table.scaled / n / std::numbers::ln2;
  const double bias = static_cast<double>(table.bias) / (2 * n) / std::numbers::ln2;
  return {.plugin_bits = bits, .corrected_bits = bits - bias, .samples = table.samples};
}

}  // namespace

Information MutualInformation(std::span<const int64_t> counts, int64_t cols) {
  return InformationOf(TableOf(counts, cols));
}

Information ConditionalInformation(std::span<const int64_t> counts, int64_t rows, int64_t cols) {
  const auto size = static_cast<size_t>(rows * cols);
  Table sum;
  for (size_t begin = 0; begin < counts.size(); begin += size) {
    const Table table = TableOf(counts.subspan(begin, size), cols);
    sum.scaled += table.scaled;
    sum.bias += table.bias;
    sum.samples += table.samples;
  }
  return InformationOf(sum);
}

double JensenShannonBits(std::span<const int64_t> a, std::span<const int64_t> b) {
  CADRE_CHECK(a.size() == b.size());
  const auto total = [](std::span<const int64_t> counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  };
  const double total_a = total(a), total_b = total(b);
  double nats = 0;
  for (size_t e = 0; e < a.size(); ++e) {
    const double p = static_cast<double>(a[e]) / total_a, q = static_cast<double>(b[e]) / total_b;
    const double middle = (p + q) / 2;
    if (p > 0) nats += 0.5 * p * std::log(p / middle);
    if (q > 0) nats += 0.5 * q * std::log(q / middle);
  }
  return nats / std::numbers::ln2;
}

double JensenShannonBias(int64_t num_experts, int64_t samples_a, int64_t samples_b) {
  return static_cast<double>(num_experts - 1) *
         (1 / static_cast<double>(samples_a) + 1 / static_cast<double>(samples_b)) / 8 /
         std::numbers::ln2;
}

}  // namespace cadre
