#include "eval/row_runner.h"

#include <algorithm>
#include <limits>

#include "eval/log_sum.h"

namespace cadre {

Likelihood AskedRequest::Sum() const {
  Likelihood sum;
  for (const double value : log_p) sum.log_likelihood += value;
  sum.is_greedy = std::find(is_greedy.begin(), is_greedy.end(), 0) == is_greedy.end();
  return sum;
}

int64_t RowsPart::first_wanted() const {
  int64_t first = std::numeric_limits<int64_t>::max();
  for (const AskedRequest* one : asked) first = std::min(first, one->request->num_given - 1);
  return first;
}

RowRunner::RowRunner(const Model& model, ExpertSource& experts, Device& device,
                     const SequenceConfig& config)
    : model_(&model),
      experts_(&experts),
      device_(&device),
      config_(config),
      activations_(model.config, Activations::Keep::kOneLayer) {}

// A part that does not fit into a step goes on in the next.
bool RowRunner::Run(std::span<const RowsPart> parts, const std::atomic<bool>* cancelled) {
  size_t next = 0;
  int64_t row = 0;
  while (next < parts.size()) {
    if (cancelled != nullptr && *cancelled) return false;
    ClearStep();
    while (next < parts.size() && std::ssize(ids_) < kStepRows) {
      const int64_t left = std::ssize(parts[next].ids) - row;
      const int64_t count = std::min(left, kStepRows - std::ssize(ids_));
      AddRows(parts[next], row, count);
      row += count;
      if (count < left) continue;
      ++next;
      row = 0;
    }
    RunStep();
  }
  return true;
}

void RowRunner::ClearStep() {
  ids_.clear();
  positions_.clear();
  sequence_of_row_.clear();
  sequences_.clear();
  wanted_rows_.clear();
  told_.clear();
}

void RowRunner::AddRows(const RowsPart& part, int64_t first, int64_t count) {
  const int64_t first_wanted = part.first_wanted();
  for (int64_t row = first; row < first + count; ++row) {
    const int64_t position = part.begin + row;
    if (position >= first_wanted) {
      wanted_rows_.push_back(std::ssize(ids_));
      told_.emplace_back(part.asked);
    }
    ids_.push_back(part.ids[static_cast<size_t>(row)]);
    positions_.push_back(position);
    sequence_of_row_.push_back(static_cast<int32_t>(sequences_.size()));
  }
  sequences_.push_back(part.branch->view());
}

void RowRunner::RunStep() {
  const int64_t num_wanted = std::ssize(wanted_rows_);
  const int64_t vocab = model_->config.vocab_size;
  logits_.Reserve(num_wanted * vocab);
  const Batch batch{.ids = ids_,
                    .positions = positions_,
                    .sequence_of_row = sequence_of_row_,
                    .sequences = sequences_,
                    .kv_type = config_.kv_type,
                    .wanted_rows = wanted_rows_,
                    .router_limits = {}};
  const ForwardOptions options{
      .activation = config_.activation, .observer = nullptr, .dropout = {}};
  Forward(*model_, *experts_, *device_, batch, options, activations_,
          logits_.AsMat(num_wanted, vocab));
  rows_run_ += std::ssize(ids_);
  device_->threads().ParallelFor(num_wanted, [&](int64_t i, int) { Tell(i); });
}

// Runs on any thread; no two rows tell the same request of the same id.
void RowRunner::Tell(int64_t wanted) const {
  const auto logits =
      logits_.AsMat(std::ssize(wanted_rows_), model_->config.vocab_size).row_span(wanted);
  const double log_sum = LogSum(logits);
  const auto likeliest = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const auto row = static_cast<size_t>(wanted_rows_[static_cast<size_t>(wanted)]);
  for (AskedRequest* one : told_[static_cast<size_t>(wanted)]) {
    const int64_t index = positions_[row] - (one->request->num_given - 1);
    if (index < 0) continue;
    const int32_t target = one->request->ids[static_cast<size_t>(positions_[row] + 1)];
    one->log_p[static_cast<size_t>(index)] =
        static_cast<double>(logits[static_cast<size_t>(target)]) - log_sum;
    one->is_greedy[static_cast<size_t>(index)] = likeliest == target ? 1 : 0;
  }
}

}  // namespace cadre
