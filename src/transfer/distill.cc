#include "transfer/distill.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/json.h"
#include "base/log.h"
#include "transfer/baseline_run.h"
#include "transfer/step_data.h"
#include "transfer/student_shape.h"
#include "transfer/text_model.h"
#include "transfer/transfer_report.h"
#include "transfer/transfer_task.h"

namespace cadre {
namespace {

// Each layer's experts by how often the model chooses them on the first steps of the data: [layers
// * E], of each layer summing to one.
std::vector<double> ChoiceShares(ModelScorer& model, StepData& data, int64_t tokens) {
  const auto num_experts = static_cast<size_t>(model.config().router.num_experts);
  std::vector<double> shares(static_cast<size_t>(model.config().num_layers) * num_experts, 0);
  const RoutingObserver count = [&](int64_t layer, const Routing& routing) {
    double* of_layer = &shares[static_cast<size_t>(layer) * num_experts];
    for (int64_t t = 0; t < routing.experts.rows; ++t) {
      for (const int32_t expert : routing.experts.row_span(t))
        if (expert >= 0) of_layer[expert] += 1;
    }
  };
  std::vector<TrainingBatch> batches;
  int64_t rows = 0;
  for (int64_t step = 0; rows < tokens; ++step) {
    data.FillBatches(step, batches);
    for (size_t i = 0; i < batches.size() && rows < tokens; ++i) {
      model.Logits(batches[i], &count);
      rows += std::ssize(batches[i].ids);
    }
  }
  for (size_t begin = 0; begin < shares.size(); begin += num_experts) {
    double sum = 0;
    for (size_t e = 0; e < num_experts; ++e) sum += shares[begin + e];
    for (size_t e = 0; e < num_experts; ++e) shares[begin + e] /= sum;
  }
  return shares;
}

// One run: the teacher, the data, the student's first weights.
class Distillation {
 public:
  Distillation(const DistillConfig& config, const RunControl& options, Device& device,
               BackwardOps& ops)
      : config_(config),
        options_(options),
        device_(device),
        ops_(ops),
        teacher_(config.teacher, config.chat) {
    if (config.round_activations) teacher_.Pack(device);
    scorer_ = std::make_unique<ModelScorer>(
        teacher_.model(), device,
        config.round_activations ? ActivationType::kRounded : ActivationType::kF32);
    if (config.init == StudentInit::kMerged && scorer_->config().router.dense())
      throw Error("{}: is dense: student.init merged needs a teacher with experts", config.teacher);
    if (config.init == StudentInit::kModel) {
      start_.emplace(config.student_model, false);
      RequireSameVocabulary(*start_, teacher_);
    }
    student_ = start_ ? start_->config() : StudentShape(config, teacher_.config());
    data_ = OpenStepData(config, teacher_, device.threads());
  }

  TransferOutcome Go(bool baseline_goes_on, bool goes_on) {
    std::optional<FinishedModel> baseline;
    if (config_.baseline != DistillBaseline::kNone) {
      if (!TrainBaseline(baseline_goes_on)) return {};
      baseline.emplace(BaselineFolder(options_.out), device_);
    }
    if (!TrainStudent(goes_on, baseline ? &baseline->scorer() : nullptr)) return {};
    return {true, Report(baseline ? &*baseline : nullptr)};
  }

 private:
  // The weights that a student begins with.
  void Begin(bool random, Trainer& trainer) {
    const auto weights = trainer.weights();
    const ParameterLayout layout(student_);
    const Model& teacher = teacher_.model();
    if (start_ && !random) return CopyToArena(start_->model(), layout, weights.data());
    trainer.Initialise(config_.seed, config_.init_sigma);
    if (random || config_.init == StudentInit::kRandom) return;
    CopyAllButExperts(teacher, layout, weights);
    if (config_.init == StudentInit::kCopied) return;
    const auto experts = static_cast<size_t>(teacher.config.router.num_experts);
    const auto shares =
        config_.merge == MergeWeights::kFrequency
            ? ChoiceShares(*scorer_, *data_, config_.merge_tokens)
            : std::vector<double>(static_cast<size_t>(teacher.config.num_layers) * experts,
                                  1.0 / static_cast<double>(experts));
    MergeExperts(teacher, shares, layout, weights, device_.threads());
  }

  bool TrainBaseline(bool goes_on) {
    log::info("the baseline, which hears no teacher");
    Trainer trainer(student_, config_.optimiser, device_, ops_);
    if (!goes_on) Begin(config_.baseline == DistillBaseline::kRandom, trainer);
    TransferTask task(*data_, device_);
    return Run(trainer, task, BaselineConfig(config_), teacher_.text(), BaselineControl(options_),
               device_.threads());
  }

  bool TrainStudent(bool goes_on, ModelScorer* baseline) {
    log::info("the student: {:.3f} M parameters of the teacher's {:.3f} M ({:.3f} M active)",
              static_cast<double>(student_.TotalParameters()) / 1e6,
              static_cast<double>(teacher_.config().TotalParameters()) / 1e6,
              static_cast<double>(teacher_.config().ActiveParameters()) / 1e6);
    Trainer trainer(student_, config_.optimiser, device_, ops_);
    if (!goes_on) Begin(false, trainer);
    TransferTask task(*data_, device_, config_.loss, *scorer_, baseline);
    return Run(trainer, task, config_, teacher_.text(), options_, device_.threads());
  }

  std::string Report(FinishedModel* baseline) {
    if (data_->Groups().empty()) return "";
    FinishedModel student(options_.out, device_);
    const auto measure = [&](FinishedModel& model) {
      return Measure(model.scorer(), scorer_.get(), *data_, true, device_.threads());
    };
    std::vector<ReportRow> rows = {{"student", student.config(), measure(student)}};
    if (baseline != nullptr) rows.push_back({"baseline", baseline->config(), measure(*baseline)});
    rows.insert(rows.begin(), TeacherRow(teacher_.config(), rows[0].measured));
    std::optional<double> gain;
    if (baseline != nullptr) {
      gain = GainRetained(rows[2].measured.Total().loss, rows[1].measured.Total().loss,
                          rows[0].measured.Total().loss);
    }
    OrderedJson json = ReportJson(rows);
    json["gain_retained"] = gain ? OrderedJson(*gain) : OrderedJson(nullptr);
    WriteReport(json, options_);
    std::string table = ReportTable(rows);
    if (gain) {
      table += fmt::format(
          "gain retained: {:.1f} % of what the teacher is better than the "
          "baseline\n",
          100 * *gain);
    } else if (baseline != nullptr) {
      table += "the teacher is not better than the baseline: there is no gain to retain\n";
    }
    return table;
  }

  const DistillConfig& config_;
  const RunControl& options_;
  Device& device_;
  BackwardOps& ops_;
  TextModel teacher_;
  std::unique_ptr<ModelScorer> scorer_;  // the teacher
  std::optional<TextModel> start_;       // of the student, where it is another model
  ModelConfig student_;
  std::unique_ptr<StepData> data_;
};

}  // namespace

TransferOutcome Distill(const DistillConfig& config, const RunControl& options, Device& device,
                        BackwardOps& ops) {
  const bool baseline_goes_on =
      config.baseline != DistillBaseline::kNone && BeginRun(BaselineControl(options));
  const bool goes_on = BeginRun(options);
  return Distillation(config, options, device, ops).Go(baseline_goes_on, goes_on);
}

}  // namespace cadre
