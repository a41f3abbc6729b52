#include "eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"
#include "eval/item_line.h"
#include "eval/metrics.h"

namespace cadre {
namespace {

constexpr size_t kEncodedTogether = 256;

// Items of a group one after another, groups by their first item.
std::vector<size_t> GroupedOrder(const std::vector<EvalItem>& items) {
  std::unordered_map<std::string, size_t> first;
  for (size_t i = 0; i < items.size(); ++i) first.emplace(items[i].group, i);
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return first[items[a].group] < first[items[b].group];
  });
  return order;
}

int64_t NumCounted(const std::vector<double>& values) {
  return std::count_if(values.begin(), values.end(), [](double v) { return !std::isnan(v); });
}

class Evaluation {
 public:
  Evaluation(const Benchmark& benchmark, const PromptEncoder& encoder, LikelihoodScorer& scorer,
             ThreadPool& threads, const EvaluationOptions& options)
      : task_(*benchmark.task),
        items_(*benchmark.items),
        shots_(*benchmark.shots),
        encoder_(encoder),
        scorer_(scorer),
        threads_(threads),
        options_(options),
        order_(GroupedOrder(items_)),
        scored_(items_.size()) {}

  EvaluationResult Run() {
    KeepRecord();
    const Stopwatch watch;
    result_.is_whole = true;
    for (size_t begin = static_cast<size_t>(result_.items); begin < order_.size();) {
      const size_t end = EndOfBlock(begin);
      Encode(begin, end);
      if (!ScoreBlock(begin, end)) {
        result_.is_whole = false;
        break;
      }
      begin = end;
    }
    result_.seconds = watch.Seconds();
    Summarise();
    return std::move(result_);
  }

 private:
  // Of one group.
  size_t EndOfBlock(size_t begin) const {
    size_t end = begin;
    const std::string& group = items_[order_[begin]].group;
    while (end < order_.size() && end - begin < kEncodedTogether &&
           items_[order_[end]].group == group)
      ++end;
    return end;
  }

  // encoded_[i] of item order_[begin + i].
  void Encode(size_t begin, size_t end) {
    const size_t count = end - begin;
    encoded_.assign(count, {});
    is_cut_.assign(count, 0);
    std::vector<std::string> errors(count);
    threads_.ParallelFor(static_cast<int64_t>(count), [&](int64_t index, int) {
      const auto i = static_cast<size_t>(index);
      const size_t item = order_[begin + i];
      try {
        auto encoded = encoder_.Encode(items_[item], shots_.Before(item));
        encoded_[i] = std::move(encoded.requests);
        is_cut_[i] = encoded.is_cut ? 1 : 0;
      } catch (const std::exception& error) {
        errors[i] = error.what();
      }
    });
    for (size_t i = 0; i < count; ++i) {
      if (!errors[i].empty())
        throw Error("{}: item {}: {}", task_.name, order_[begin + i] + 1, errors[i]);
    }
  }

  std::vector<std::vector<Likelihood>> Score(std::span<const ItemRequests> window) {
    return options_.one_by_one ? scorer_.ScoreOneByOne(window, options_.cancelled)
                               : scorer_.Score(window, options_.cancelled);
  }

  bool ScoreBlock(size_t begin, size_t end) {
    for (size_t at = begin; at < end;) {
      const auto rest = std::span<const ItemRequests>(encoded_).subspan(at - begin);
      const auto window = rest.first(options_.one_by_one ? size_t{1} : scorer_.WindowSize(rest));
      auto scores = Score(window);
      if (scores.empty()) return false;
      std::vector<OrderedJson> lines;
      for (size_t i = 0; i < window.size(); ++i) {
        const size_t item = order_[at + i];
        ExpectFinite(scores[i], item);
        scored_[item] = {std::move(scores[i]), is_cut_[at - begin + i] != 0};
        if (options_.record != nullptr)
          lines.push_back(ItemLine(task_, item, items_[item], window[i], scored_[item]));
      }
      if (options_.record != nullptr) options_.record->Append(lines);
      at += window.size();
      result_.items += std::ssize(window);
      if (options_.on_progress) options_.on_progress(result_.items, std::ssize(items_));
    }
    return true;
  }

  void ExpectFinite(const std::vector<Likelihood>& scores, size_t item) const {
    for (const Likelihood& score : scores) {
      if (!std::isfinite(score.log_likelihood))
        throw Error("{}: item {}: the model's logits are no finite numbers", task_.name, item + 1);
    }
  }

  void KeepRecord() {
    if (options_.record == nullptr || options_.record->kept().empty()) return;
    const auto& kept = options_.record->kept();
    const std::string& path = options_.record->path();
    if (kept.size() > order_.size())
      throw Error("{}: has {} items but there are {}", path, kept.size(), order_.size());
    for (size_t i = 0; i < kept.size(); ++i) {
      const size_t item = order_[i];
      const std::string name = fmt::format("{}:{}", path, i + 2);
      scored_[item] = ParseItemLine(kept[i], item, items_[item], name);
    }
    CheckSameModel(kept.size() - 1, path);
    result_.items = result_.items_kept = std::ssize(kept);
  }

  // Another model, or other settings, would give other bits.
  void CheckSameModel(size_t last, const std::string& path) {
    Encode(last, last + 1);
    const auto again = Score(encoded_);
    if (again.empty()) return;
    const auto& before = scored_[order_[last]].scores;
    for (size_t i = 0; i < before.size(); ++i) {
      if (again[0][i].log_likelihood == before[i].log_likelihood &&
          again[0][i].is_greedy == before[i].is_greedy)
        continue;
      throw Error(
          "{}: its last item scores {} but now {}: it is of another model, device or setting", path,
          before[i].log_likelihood, again[0][i].log_likelihood);
    }
  }

  void Summarise() {
    for (const ScoredItem& item : scored_) result_.items_cut += item.is_cut ? 1 : 0;
    const auto scored = std::span(order_).first(static_cast<size_t>(result_.items));
    result_.figures = FiguresOf(scored);
    for (size_t begin = 0; begin < scored.size();) {
      const std::string& group = items_[scored[begin]].group;
      if (group.empty()) return;
      size_t end = begin;
      while (end < scored.size() && items_[scored[end]].group == group) ++end;
      const auto members = scored.subspan(begin, end - begin);
      result_.groups.push_back({group, std::ssize(members), FiguresOf(members)});
      begin = end;
    }
  }

  std::vector<EvaluationResult::Figure> FiguresOf(std::span<const size_t> items) const {
    std::vector<EvaluationResult::Figure> figures;
    std::vector<double> values;
    for (const Metric metric : task_.metrics) {
      values.clear();
      for (const size_t item : items) values.push_back(Value(metric, item));
      figures.push_back({std::string(MetricName(metric)), Aggregate(metric, values),
                         metric != Metric::kPerplexity, NumCounted(values)});
    }
    return figures;
  }

  double Value(Metric metric, size_t item) const {
    return ItemValue(metric, items_[item], scored_[item].scores);
  }

  const Task& task_;
  const std::vector<EvalItem>& items_;
  const Shots& shots_;
  const PromptEncoder& encoder_;
  LikelihoodScorer& scorer_;
  ThreadPool& threads_;
  const EvaluationOptions& options_;
  std::vector<size_t> order_;
  std::vector<ScoredItem> scored_;  // [items]
  std::vector<ItemRequests> encoded_;
  std::vector<char> is_cut_;
  EvaluationResult result_;
};

}  // namespace

EvaluationNeeds FindNeeds(const Benchmark& benchmark, const PromptEncoder& encoder,
                          ThreadPool& threads) {
  const auto& items = *benchmark.items;
  std::vector<int64_t> pages(items.size()), bytes(items.size());
  std::vector<std::string> errors(items.size());
  threads.ParallelFor(std::ssize(items), [&](int64_t index, int) {
    const auto i = static_cast<size_t>(index);
    try {
      const auto encoded = encoder.Encode(items[i], benchmark.shots->Before(i));
      pages[i] = LikelihoodScorer::PagesAlone(encoded.requests);
      for (const auto& request : encoded.requests)
        bytes[i] += static_cast<int64_t>(request.ids.size() * sizeof(request.ids[0]));
    } catch (const std::exception& error) {
      errors[i] = error.what();
    }
  });
  EvaluationNeeds needs;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!errors[i].empty()) throw Error("{}: item {}: {}", benchmark.task->name, i + 1, errors[i]);
    needs.pages = std::max(needs.pages, pages[i]);
    needs.encoded_bytes = std::max(needs.encoded_bytes, bytes[i]);
  }
  needs.encoded_bytes *= static_cast<int64_t>(kEncodedTogether);
  return needs;
}

EvaluationResult Evaluate(const Benchmark& benchmark, const PromptEncoder& encoder,
                          LikelihoodScorer& scorer, ThreadPool& threads,
                          const EvaluationOptions& options) {
  return Evaluation(benchmark, encoder, scorer, threads, options).Run();
}

}  // namespace cadre
