#include "transfer/upcycle.h"

#include <memory>
#include <optional>

#include "base/json.h"
#include "base/log.h"
#include "transfer/baseline_run.h"
#include "transfer/step_data.h"
#include "transfer/text_model.h"
#include "transfer/transfer_report.h"
#include "transfer/transfer_task.h"

namespace cadre {
namespace {

// One run: the dense model and the data.
class Upcycling {
 public:
  Upcycling(const UpcycleConfig& config, const RunControl& options, Device& device,
            BackwardOps& ops)
      : config_(config),
        options_(options),
        device_(device),
        ops_(ops),
        dense_(config.model, config.chat) {
    if (!dense_.config().router.dense())
      throw Error("{}: has {} experts a layer already but must be dense", config.model,
                  dense_.config().router.num_experts);
    data_ = OpenStepData(config, dense_, device.threads());
  }

  TransferOutcome Go(bool baseline_goes_on, bool goes_on) {
    if (config_.baseline && !TrainDense(baseline_goes_on)) return {};
    if (!TrainSparse(goes_on)) return {};
    return {true, Report()};
  }

 private:
  bool TrainDense(bool goes_on) {
    log::info("the baseline: the dense model on the same tokens");
    Trainer trainer(dense_.config(), config_.optimiser, device_, ops_);
    if (!goes_on) CopyToArena(dense_.model(), trainer.weights().data());
    TransferTask task(*data_, device_);
    return Run(trainer, task, BaselineConfig(config_), dense_.text(), BaselineControl(options_),
               device_.threads());
  }

  bool TrainSparse(bool goes_on) {
    ModelConfig sparse = SparseConfig(dense_.config(), config_.router);
    sparse.router_aux_loss_coef = config_.optimiser.balance_coefficient;
    sparse.Validate("upcycle");
    log::info("{:.3f} M parameters become {:.3f} M, {:.3f} M active",
              static_cast<double>(dense_.config().TotalParameters()) / 1e6,
              static_cast<double>(sparse.TotalParameters()) / 1e6,
              static_cast<double>(sparse.ActiveParameters()) / 1e6);
    Trainer trainer(sparse, config_.optimiser, device_, ops_);
    if (!goes_on) {
      const ParameterLayout layout(sparse);
      CopyAllButExperts(dense_.model(), layout, trainer.weights());
      SpreadFfn(dense_.model(), config_.variation, config_.seed, layout, trainer.weights(),
                device_.threads());
    }
    TransferTask task(*data_, device_);
    return Run(trainer, task, config_, dense_.text(), options_, device_.threads());
  }

  std::string Report() {
    if (data_->Groups().empty()) return "";
    std::vector<ReportRow> rows;
    const auto measure = [&](const char* name, ModelScorer& model) {
      rows.push_back(
          {name, model.config(), Measure(model, nullptr, *data_, true, device_.threads())});
      return rows.back().measured.Total().loss;
    };
    ModelScorer dense(dense_.model(), device_);
    FinishedModel finished(options_.out, device_);
    const double before = measure("dense", dense);
    const double sparse = measure("sparse", finished.scorer());
    std::optional<double> baseline;
    if (config_.baseline) {
      FinishedModel continued(BaselineFolder(options_.out), device_);
      baseline = measure("baseline", continued.scorer());
    }
    OrderedJson json = ReportJson(rows);
    json["gain_over_dense"] = before - sparse;
    json["gain_over_baseline"] = baseline ? OrderedJson(*baseline - sparse) : OrderedJson(nullptr);
    WriteReport(json, options_);
    std::string table = ReportTable(rows);
    table += fmt::format("gain over the dense model: {:.4f} nats a token\n", before - sparse);
    if (baseline) {
      table += fmt::format("gain over the dense model on the same tokens: {:.4f} nats a token\n",
                           *baseline - sparse);
    }
    return table;
  }

  const UpcycleConfig& config_;
  const RunControl& options_;
  Device& device_;
  BackwardOps& ops_;
  TextModel dense_;
  std::unique_ptr<StepData> data_;
};

}  // namespace

TransferOutcome Upcycle(const UpcycleConfig& config, const RunControl& options, Device& device,
                        BackwardOps& ops) {
  const bool baseline_goes_on = config.baseline && BeginRun(BaselineControl(options));
  const bool goes_on = BeginRun(options);
  return Upcycling(config, options, device, ops).Go(baseline_goes_on, goes_on);
}

}  // namespace cadre
