#include "engine/prompt_lookup.h"

#include <algorithm>
#include <cmath>

namespace cadre {
namespace {

constexpr int64_t kLongestEnding = 4;
constexpr int64_t kShortestEnding = 2;
constexpr int64_t kReach = 8192;  // how far back it is looked

}  // namespace

std::span<const int32_t> LookUpDraft(std::span<const int32_t> ids, int64_t max_tokens) {
  const int64_t size = std::ssize(ids);
  if (max_tokens <= 0) return {};
  int64_t best_end = 0;
  int64_t best_length = 0;
  for (int64_t end = size - 1; end >= std::max<int64_t>(1, size - kReach); --end) {
    int64_t length = 0;  // of the common ending of ids[0, end) and ids
    while (length < kLongestEnding && length < end &&
           ids[static_cast<size_t>(end - 1 - length)] ==
               ids[static_cast<size_t>(size - 1 - length)])
      ++length;
    if (length <= best_length) continue;
    best_length = length;
    best_end = end;
    if (length == kLongestEnding) break;
  }
  if (best_length < kShortestEnding) return {};
  return ids.subspan(static_cast<size_t>(best_end),
                     static_cast<size_t>(std::min(max_tokens, size - best_end)));
}

// Every guess up to the first wrong one is a trial.
void DraftRecord::Add(int64_t drafted, int64_t accepted) {
  idle_ = 0;
  const int64_t trials = std::min(drafted, accepted + 1);
  for (int64_t i = 0; i < trials; ++i) {
    acceptance_ += 0.1 * ((i < accepted ? 1.0 : 0.0) - acceptance_);
  }
}

void StepTimes::Add(int64_t rows, double seconds) {
  const auto [it, is_new] = seconds_.emplace(rows, seconds);
  if (!is_new) it->second += 0.1 * (seconds - it->second);
}

double StepTimes::Predict(int64_t rows) const {
  const auto above = seconds_.lower_bound(rows);
  if (above != seconds_.end() && above->first == rows) return above->second;
  if (seconds_.size() < 2 || above == seconds_.begin()) return 0;
  const auto upper = above == seconds_.end() ? std::prev(above) : above;
  const auto lower = std::prev(upper);
  const double slope =
      (upper->second - lower->second) / static_cast<double>(upper->first - lower->first);
  return lower->second + std::max(0.0, slope) * static_cast<double>(rows - lower->first);
}

int64_t BestDraft(const StepTimes& times, int64_t rows, double acceptance, int64_t max_draft) {
  const double plain_s = times.Predict(rows + 1);
  if (plain_s <= 0) return 0;
  const auto others = static_cast<double>(rows);
  double best_rate = (others + 1) / plain_s;
  int64_t best = 0;
  double expected = 1;  // tokens of this request
  for (int64_t draft = 1; draft <= max_draft; ++draft) {
    expected += std::pow(acceptance, static_cast<double>(draft));
    const double seconds = times.Predict(rows + 1 + draft);
    if (seconds <= 0) return best == 0 ? draft : best;  // not known yet: find out
    const double rate = (others + expected) / seconds;
    if (rate <= best_rate * 1.02) continue;
    best_rate = rate;
    best = draft;
  }
  return best;
}

}  // namespace cadre
