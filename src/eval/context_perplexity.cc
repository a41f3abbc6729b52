#include "eval/context_perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/log_sum.h"

namespace cadre {
namespace {

// Adds the losses of the last `targets` ids of the window, given those before them. False:
// cancelled.
bool AddLosses(WindowScorer& model, std::span<const int32_t> window, int64_t targets,
               const std::atomic<bool>* cancelled, RunningMean& mean) {
  const int64_t begin = std::ssize(window) - targets - 1;
  const Mat<const float> logits = model.Logits(window, begin, cancelled);
  if (logits.empty()) return false;
  std::vector<double> losses(static_cast<size_t>(targets));
  model.device().threads().ParallelFor(targets, [&](int64_t i, int) {
    const auto row = logits.row_span(i);
    const auto target = static_cast<size_t>(window[static_cast<size_t>(begin + i + 1)]);
    losses[static_cast<size_t>(i)] = LogSum(row) - static_cast<double>(row[target]);
  });
  for (const double loss : losses) mean.Add(loss);
  return true;
}

}  // namespace

std::vector<ContextPerplexity> PerplexityByContext(WindowScorer& model,
                                                   std::span<const int32_t> ids,
                                                   const std::vector<int64_t>& contexts,
                                                   const PerplexityOptions& options) {
  CADRE_CHECK(!contexts.empty() && std::is_sorted(contexts.begin(), contexts.end()));
  if (contexts.front() < 4)
    throw Error("a context has {} tokens but must have four", contexts.front());
  const int64_t longest = contexts.back(), targets = contexts.front() / 2;
  const int64_t num_windows = std::ssize(ids) / longest;
  if (num_windows == 0)
    throw Error("the text has {} tokens but the longest context {}", ids.size(), longest);
  std::vector<RunningMean> losses(contexts.size());
  std::vector<int32_t> window;
  int64_t done = 0;
  const int64_t total = num_windows * std::ssize(contexts);
  for (int64_t w = 0; w < num_windows; ++w) {
    for (size_t c = 0; c < contexts.size(); ++c) {
      const auto cut = ids.subspan(static_cast<size_t>((w + 1) * longest - contexts[c]),
                                   static_cast<size_t>(contexts[c]));
      window.assign(cut.begin(), cut.end());
      if (options.bos_id >= 0) window[0] = options.bos_id;
      if (!AddLosses(model, window, targets, options.cancelled, losses[c])) w = num_windows;
      if (options.on_progress) options.on_progress(++done, total);
      if (w == num_windows) break;
    }
  }
  std::vector<ContextPerplexity> result;
  for (size_t c = 0; c < contexts.size(); ++c) {
    const MeanAndError loss = losses[c].result();
    const double perplexity = std::exp(loss.mean);
    result.push_back({contexts[c], losses[c].count(), loss, perplexity, perplexity * loss.error});
  }
  return result;
}

}  // namespace cadre
