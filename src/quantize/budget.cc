#include "quantize/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/gguf_writer.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

// Rows of a matrix that are tried: so many values, but no fewer rows than this.
constexpr int64_t kSampledValues = int64_t{1} << 14;
constexpr int64_t kSampledRows = 32;

constexpr DType kCandidates[] = {DType::kQ2_K, DType::kQ3_K, DType::kIQ4_XS, DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K, DType::kQ8_0};

uint64_t BytesAs(const PlannedTensor& tensor, DType type) {
  uint64_t bytes = 0;
  for (const Weight& w : tensor.parts)
    bytes += static_cast<uint64_t>(w.rows * RowBytes(type, w.cols));
  return (bytes + GgufWriter::kAlignment - 1) / GgufWriter::kAlignment * GgufWriter::kAlignment;
}

// What a tensor may be stored as: the candidates that fit its width, and what it is now, if that
// is small.
std::vector<DType> TypesOf(const PlannedTensor& tensor) {
  std::vector<DType> types;
  const auto add = [&](DType type) {
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  };
  for (const DType type : kCandidates) add(FittingType(type, tensor.cols()));
  const DType stored = StoredType(tensor);
  add(stored == DType::kF32 ? DType::kF16 : stored);
  return types;
}

// Squared errors and squares of some rows of a matrix, each column as its importance says.
struct Errors {
  std::vector<double> of_type;
  double squares = 0;
};

Errors MeasureErrors(const Weight& w, std::span<const float> importance,
                     const std::vector<DType>& types, ThreadPool& threads) {
  const int64_t num_rows = std::min(w.rows, std::max(kSampledRows, kSampledValues / w.cols));
  struct Scratch {
    std::vector<float> values, again;
    std::vector<std::byte> bytes;
  };
  std::vector<Scratch> scratch(static_cast<size_t>(threads.num_threads()));
  std::vector<Errors> rows(static_cast<size_t>(num_rows));
  const auto cols = static_cast<size_t>(w.cols);
  threads.ParallelFor(num_rows, [&](int64_t r, int thread) {
    auto& [values, again, bytes] = scratch[static_cast<size_t>(thread)];
    values.resize(cols);
    again.resize(cols);
    bytes.resize(cols * sizeof(float));
    Errors& row = rows[static_cast<size_t>(r)];
    const auto weight = [&](size_t i) {
      return importance.empty() ? 1.0 : static_cast<double>(importance[i]);
    };
    DecodeRow(w.type, w.row(r * w.rows / num_rows), values);
    for (size_t i = 0; i < cols; ++i)
      row.squares += weight(i) * static_cast<double>(values[i]) * values[i];
    for (const DType type : types) {
      double error = 0;
      if (type != w.type) {
        EncodeRow(type, values, bytes.data(), importance);
        DecodeRow(type, bytes.data(), again);
        for (size_t i = 0; i < cols; ++i) {
          const double miss = static_cast<double>(again[i]) - values[i];
          error += weight(i) * miss * miss;
        }
      }
      row.of_type.push_back(error);
    }
  });
  Errors sum = {std::vector<double>(types.size()), 0};
  const double share = static_cast<double>(w.rows) / static_cast<double>(num_rows);
  for (const Errors& row : rows) {
    sum.squares += row.squares * share;
    for (size_t i = 0; i < types.size(); ++i) sum.of_type[i] += row.of_type[i] * share;
  }
  return sum;
}

// The options of a tensor on the lower convex hull of (bytes, cost), smallest first.
std::vector<size_t> Hull(const std::vector<TypeOption>& options) {
  std::vector<size_t> order(options.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tie(options[a].bytes, options[a].cost, a) <
           std::tie(options[b].bytes, options[b].cost, b);
  });
  const auto slope = [&](size_t a, size_t b) {
    return (options[a].cost - options[b].cost) /
           static_cast<double>(options[b].bytes - options[a].bytes);
  };
  std::vector<size_t> hull;
  for (const size_t next : order) {
    if (!hull.empty() && (options[next].bytes == options[hull.back()].bytes ||
                          !(options[next].cost < options[hull.back()].cost)))
      continue;
    while (hull.size() >= 2 &&
           slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), next))
      hull.pop_back();
    hull.push_back(next);
  }
  return hull;
}

// A tensor goes from one option to the next.
struct Step {
  size_t tensor, place;  // to hull[place]
  double gain_per_byte;
  uint64_t bytes;
};

}  // namespace

std::vector<size_t> ChooseOptions(const std::vector<std::vector<TypeOption>>& tensors,
                                  uint64_t bytes) {
  std::vector<std::vector<size_t>> hulls;
  std::vector<Step> steps;
  uint64_t used = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const auto& hull = hulls.emplace_back(Hull(tensors[t]));
    used += tensors[t][hull[0]].bytes;
    for (size_t i = 1; i < hull.size(); ++i) {
      const TypeOption &from = tensors[t][hull[i - 1]], &to = tensors[t][hull[i]];
      const uint64_t more = to.bytes - from.bytes;
      steps.push_back({t, i, (from.cost - to.cost) / static_cast<double>(more), more});
    }
  }
  if (used > bytes) {
    throw Error("the smallest types take {} bytes of tensors but the budget leaves {}", used,
                bytes);
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.gain_per_byte > b.gain_per_byte; });
  std::vector<size_t> places(tensors.size(), 0);
  // A step too large is passed over, and with it the later ones of its tensor.
  for (const Step& step : steps) {
    if (places[step.tensor] + 1 != step.place || used + step.bytes > bytes) continue;
    places[step.tensor] = step.place;
    used += step.bytes;
  }
  for (size_t t = 0; t < tensors.size(); ++t) places[t] = hulls[t][places[t]];
  return places;
}

BudgetPlan PlanForBudget(const std::vector<PlannedTensor>& plan, const Importance& importance,
                         uint64_t bytes, ThreadPool& threads,
                         const std::function<void(int64_t done, int64_t total)>& on_progress) {
  std::vector<std::vector<TypeOption>> options;
  int64_t done = 0;
  for (const PlannedTensor& tensor : plan) {
    auto& of = options.emplace_back();
    if (tensor.role == TensorRole::kNorm || tensor.role == TensorRole::kRouter) {
      of.push_back({tensor.type, BytesAs(tensor, tensor.type), 0});
      continue;
    }
    const auto types = TypesOf(tensor);
    for (const DType type : types) of.push_back({type, BytesAs(tensor, type), 0});
    for (const Weight& w : tensor.parts) {
      const Errors errors = MeasureErrors(w, importance.Of(w), types, threads);
      const double cost_of_all = importance.CostOfLosing(w, errors.squares);
      for (size_t i = 0; i < types.size() && errors.squares > 0; ++i)
        of[i].cost += cost_of_all * errors.of_type[i] / errors.squares;
      ReleasePages({w.data, static_cast<size_t>(w.bytes())});
    }
    if (on_progress) on_progress(++done, std::ssize(plan));
  }
  const auto chosen = ChooseOptions(options, bytes);
  BudgetPlan result;
  for (size_t t = 0; t < plan.size(); ++t) {
    const TypeOption& option = options[t][chosen[t]];
    result.types[plan[t].name] = option.type;
    result.expected_kl += option.cost;
  }
  return result;
}

}  // namespace cadre
