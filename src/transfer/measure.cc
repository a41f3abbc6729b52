#include "transfer/measure.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "transfer/divergence.h"

namespace cadre {
namespace {

// -log p of the target, at temperature 1.
double LossOf(std::span<const float> logits, int32_t target) {
  const float max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += static_cast<double>(std::exp(logit - max));
  return std::log(sum) - static_cast<double>(logits[static_cast<size_t>(target)] - max);
}

// Sums over rows with a target.
class Tally {
 public:
  Tally(ModelScorer& model, ModelScorer* teacher, ThreadPool& threads)
      : model_(model), teacher_(teacher), threads_(threads) {
    scratch_.resize(static_cast<size_t>(threads.num_threads()));
  }

  void Add(const TrainingBatch& batch, Measured& sums) {
    const Mat<float> logits = model_.Logits(batch);
    const Mat<float> taught = teacher_ == nullptr ? Mat<float>() : teacher_->Logits(batch);
    rows_.assign(batch.ids.size(), {});
    threads_.ParallelFor(logits.rows, [&](int64_t t, int thread) {
      const int32_t target = batch.targets[static_cast<size_t>(t)];
      if (target < 0) return;
      Row& row = rows_[static_cast<size_t>(t)];
      if (teacher_ == nullptr) {
        row.figures.cross_entropy = LossOf(logits.row_span(t), target);
        return;
      }
      row.teacher_loss = LossOf(taught.row_span(t), target);
      row.figures = DistillRow({}, taught.row_span(t), target, 0, logits.row_span(t),
                               scratch_[static_cast<size_t>(thread)]);
    });
    for (const Row& row : rows_) {
      sums.loss += row.figures.cross_entropy;
      sums.teacher_loss += row.teacher_loss;
      sums.kl += row.figures.divergence;
      sums.top1_agreement += row.figures.agrees ? 1 : 0;
    }
    sums.tokens += batch.CountTargets();
  }

 private:
  struct Row {
    DistillFigures figures;
    double teacher_loss = 0;
  };
  ModelScorer& model_;
  ModelScorer* teacher_;
  ThreadPool& threads_;
  std::vector<Row> rows_;
  std::vector<std::vector<float>> scratch_;
};

void Scale(double factor, Measured& m) {
  for (double* value : {&m.loss, &m.teacher_loss, &m.kl, &m.top1_agreement}) *value *= factor;
}

}  // namespace

MeasuredGroups Measure(ModelScorer& model, ModelScorer* teacher, const StepData& data, bool all,
                       ThreadPool& threads) {
  CADRE_CHECK(teacher == nullptr || teacher->config().vocab_size == model.config().vocab_size);
  MeasuredGroups measured;
  measured.with_teacher = teacher != nullptr;
  Tally tally(model, teacher, threads);
  const auto names = data.Groups();
  for (size_t g = 0; g < names.size(); ++g) {
    Measured sums;
    double nats = 0, tokens = 0;  // of the beginning
    data.ForEachHeldBack(g, all, [&](const TrainingBatch& batch, bool is_beginning) {
      tally.Add(batch, sums);
      if (!is_beginning) return;
      nats = sums.loss;
      tokens = static_cast<double>(sums.tokens);
    });
    sums.beginning_loss = nats / std::max(1.0, tokens);
    Scale(1.0 / static_cast<double>(std::max<int64_t>(1, sums.tokens)), sums);
    measured.groups.emplace_back(names[g], sums);
  }
  return measured;
}

Measured MeasuredGroups::Total() const {
  Measured total;
  for (const auto& [name, group] : groups) {
    const auto tokens = static_cast<double>(group.tokens);
    total.tokens += group.tokens;
    total.loss += tokens * group.loss;
    total.teacher_loss += tokens * group.teacher_loss;
    total.kl += tokens * group.kl;
    total.top1_agreement += tokens * group.top1_agreement;
  }
  Scale(1.0 / static_cast<double>(std::max<int64_t>(1, total.tokens)), total);
  return total;
}

double MeasuredGroups::Score() const {
  double sum = 0;
  for (const auto& [name, group] : groups) sum += group.beginning_loss;
  return sum / static_cast<double>(std::max<size_t>(1, groups.size()));
}

OrderedJson FiguresOf(const Measured& m, bool with_teacher) {
  OrderedJson figures{{"loss", m.loss}, {"perplexity", std::exp(m.loss)}, {"tokens", m.tokens}};
  if (with_teacher) {
    figures["kl"] = m.kl;
    figures["top1_agreement"] = m.top1_agreement;
    figures["teacher_loss"] = m.teacher_loss;
  }
  return figures;
}

OrderedJson MeasuredGroups::Figures() const {
  OrderedJson figures = OrderedJson::object();
  for (const auto& [name, group] : groups) figures[name] = FiguresOf(group, with_teacher);
  return figures;
}

}  // namespace cadre
