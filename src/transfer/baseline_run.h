// The second model of a run, trained on the same tokens to be compared with, and the models that
// finished runs have left.
#pragma once

#include <memory>
#include <string>

#include "base/json_fwd.h"
#include "model/load.h"
#include "train/run.h"
#include "transfer/model_scorer.h"
#include "transfer/transfer_config.h"

namespace cadre {

// Its folder within the run's.
std::string BaselineFolder(const std::string& out);
// The run's control, for it; its lines of metrics come as {"baseline": line}.
RunControl BaselineControl(const RunControl& options);
// The run's configuration under another name.
RunConfig BaselineConfig(const RunConfig& config);

// The model that a finished run in `folder` has written.
class FinishedModel {
 public:
  FinishedModel(const std::string& folder, Device& device);
  const ModelConfig& config() const { return loaded_.model().config; }
  ModelScorer& scorer() { return *scorer_; }

 private:
  LoadedModel loaded_;
  std::unique_ptr<ModelScorer> scorer_;
};

// Writes report.json, and hands it to on_metrics as {"report": ...}.
void WriteReport(const OrderedJson& report, const RunControl& options);

}  // namespace cadre
