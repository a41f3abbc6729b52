#include "transfer/transfer_task.h"

namespace cadre {

std::optional<double> GainRetained(double baseline, double student, double teacher) {
  if (!(teacher < baseline)) return std::nullopt;
  return (baseline - student) / (baseline - teacher);
}

TransferTask::TransferTask(StepData& data, Device& device) : data_(data), device_(device) {}

TransferTask::TransferTask(StepData& data, Device& device, const DistillLoss& loss,
                           ModelScorer& teacher, ModelScorer* baseline)
    : data_(data), device_(device), teacher_(&teacher), baseline_(baseline) {
  distill_.emplace(loss, teacher);
}

void TransferTask::FillBatches(int64_t step, std::vector<TrainingBatch>& batches) {
  data_.FillBatches(step, batches);
}

Objective& TransferTask::objective() {
  if (distill_) return *distill_;
  return cross_entropy_;
}

void TransferTask::AddMetrics(const StepResult& result, OrderedJson& line) {
  data_.AddMetrics(result, line);
  if (!distill_) {
    line["cross_entropy"] = result.objective;
    return;
  }
  const auto& means = distill_->means();
  line["cross_entropy"] = means.cross_entropy;
  line["divergence"] = means.divergence;
  line["top1_agreement"] = means.top1_agreement;
}

double TransferTask::BaselineLoss(bool all) {
  const auto known = baseline_losses_.find(all);
  if (known != baseline_losses_.end()) return known->second;
  const double loss = Measure(*baseline_, nullptr, data_, all, device_.threads()).Total().loss;
  return baseline_losses_[all] = loss;
}

std::optional<Validation> TransferTask::Validate(Trainer& trainer, bool is_last) {
  if (data_.Groups().empty()) return std::nullopt;
  if (scorer_ == nullptr) scorer_ = std::make_unique<ModelScorer>(trainer.model(), device_);
  const auto measured = Measure(*scorer_, teacher_, data_, is_last, device_.threads());
  Validation validation{measured.Figures(), measured.Score()};
  validation.figures["mean_loss"] = validation.score;
  if (baseline_ != nullptr) {
    const Measured total = measured.Total();
    const auto gain = GainRetained(BaselineLoss(is_last), total.loss, total.teacher_loss);
    validation.figures["gain_retained"] = gain ? OrderedJson(*gain) : OrderedJson(nullptr);
  }
  return validation;
}

}  // namespace cadre
