#include "transfer/baseline_run.h"

#include "base/atomic_file.h"
#include "base/json.h"

namespace cadre {

std::string BaselineFolder(const std::string& out) { return out + "/baseline"; }

RunControl BaselineControl(const RunControl& options) {
  RunControl control = options;
  control.out = BaselineFolder(options.out);
  if (options.on_metrics) {
    control.on_metrics = [&options](const std::string& line) {
      options.on_metrics(fmt::format("{{\"baseline\":{}}}", line));
    };
  }
  return control;
}

RunConfig BaselineConfig(const RunConfig& config) {
  RunConfig baseline = config;
  baseline.name += "-baseline";
  return baseline;
}

FinishedModel::FinishedModel(const std::string& folder, Device& device)
    : loaded_(LoadedModel::Load(folder + "/model")),
      scorer_(std::make_unique<ModelScorer>(loaded_.model(), device)) {}

void WriteReport(const OrderedJson& report, const RunControl& options) {
  WriteFileAtomically(options.out + "/report.json", report.dump(1) + "\n");
  if (options.on_metrics) options.on_metrics(OrderedJson{{"report", report}}.dump());
}

}  // namespace cadre
