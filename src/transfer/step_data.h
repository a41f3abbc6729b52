// What a run learns from, step by step, and the text kept back that it is measured by.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "train/trainer.h"
#include "transfer/text_model.h"
#include "transfer/transfer_config.h"

namespace cadre {

class StepData {
 public:
  virtual ~StepData() = default;

  // The batches of a step, from 0: a function of the step alone.
  virtual void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) = 0;
  // Adds what there is to say of the data of the step filled last to its line of the record.
  virtual void AddMetrics(const StepResult& result, OrderedJson& line) const = 0;

  // Names of the groups of what is kept back; may be none.
  virtual std::vector<std::string> Groups() const = 0;
  // The group's batches in their order: those of its beginning, the same each time, and with `all`
  // the others too.
  virtual void ForEachHeldBack(
      size_t group, bool all,
      const std::function<void(const TrainingBatch&, bool is_beginning)>& take) const = 0;
};

// Text or conversations, as the configuration says, in the model's ids. `model` was opened for chat
// where they are conversations. Throws Error for bad data.
std::unique_ptr<StepData> OpenStepData(const TextConfig& config, const TextModel& model,
                                       ThreadPool& threads);

}  // namespace cadre
