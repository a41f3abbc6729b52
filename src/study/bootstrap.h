// Intervals by resampling whole documents: the tokens of a document are no independent draws, and
// an interval over tokens would be far too narrow.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cadre {

struct Interval {
  double low = 0;
  double high = 0;
};

// What remains of a statistic under a null: how large it is by chance alone.
struct NullLevel {
  double mean = 0;
  double high = 0;  // above 95 of 100
};

// Of values in any order, at least one.
Interval MiddleOf(std::vector<double> values, double share = 0.95);
NullLevel LevelOf(std::vector<double> values);

// The same draws for every statistic of a domain. Immutable.
class DocumentBootstrap {
 public:
  static constexpr int64_t kResamples = 1000;

  // `domain` and seed say which draws.
  DocumentBootstrap(int64_t num_documents, uint64_t seed, int64_t domain);

  // 95 % of the resampled sum(numerators) / sum(denominators), a value of each per document. None
  // for a single document, and where all denominators are 0.
  std::optional<Interval> OfRatio(std::span<const double> numerators,
                                  std::span<const double> denominators) const;

 private:
  int64_t num_documents_;
  std::vector<uint16_t> times_;  // [kResamples, documents] how often each was drawn
};

}  // namespace cadre
