#include "train/run.h"

#include <cmath>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/folders.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "engine/save_text.h"
#include "model/adapter_files.h"
#include "model/load.h"
#include "model/save.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/report.h"
#include "train/router_health.h"

namespace cadre {
namespace {

// To `parts` of one.
double Rounded(double value, double parts) { return std::round(value * parts) / parts; }

OrderedJson Rounded(const std::vector<double>& values) {
  OrderedJson list = OrderedJson::array();
  for (const double value : values) list.push_back(Rounded(value, 1e4));
  return list;
}

// Share of each layer's choices that each expert got.
OrderedJson ExpertLoads(const StepResult& result, const RouterConfig& router) {
  const auto num_experts = static_cast<size_t>(router.num_experts);
  OrderedJson loads = OrderedJson::array();
  for (size_t l = 0; l < result.layer_load.size(); l += num_experts) {
    OrderedJson layer = OrderedJson::array();
    for (size_t e = 0; e < num_experts; ++e) {
      layer.push_back(Rounded(result.layer_load[l + e] / static_cast<double>(router.top_k), 1e4));
    }
    loads.push_back(std::move(layer));
  }
  return loads;
}

void SaveFolder(const Model& model, const RunText& text, ThreadPool& threads,
                const std::string& folder) {
  CreateFolders(folder);
  SaveTextFiles(text.tokenizer.vocabulary(), text.chat_template, folder);
  SaveSafetensors(model, HuggingFaceFloats(), threads, folder);
}

void SaveAdapterFolder(const ParameterLayout& layout, const float* values, const RunText& text,
                       const std::string& folder) {
  CreateFolders(folder);
  SaveTextFiles(text.tokenizer.vocabulary(), text.chat_template, folder);
  SaveAdapters(layout, values, text.base, folder);
}

void SaveFinal(const Model& model, const RunConfig& config, const RunText& text,
               ThreadPool& threads, const std::string& out) {
  SaveFolder(model, text, threads, out + "/model");
  const SaveOptions gguf = {.layout = {}, .type_of = [&](const PlannedTensor& tensor) {
                              return UniformType(tensor, config.gguf_type, TensorLayout::kGguf);
                            }};
  SaveGguf(
      model, gguf, threads,
      [&](GgufWriter& writer) {
        SetTextMetadata(text.tokenizer.vocabulary(), text.chat_template, writer);
      },
      config.name, fmt::format("{}/{}.gguf", out, config.name));
}

// The steps of one run.
class Steps {
 public:
  Steps(Trainer& trainer, Task& task, const RunConfig& config, const RunText& text,
        const RunControl& options, ThreadPool& threads)
      : trainer_(trainer),
        task_(task),
        config_(config),
        text_(text),
        options_(options),
        threads_(threads),
        checkpoints_(options.out + "/checkpoints", config.schedule) {}

  bool Go() {
    checkpoints_.Restore(trainer_, config_.fingerprint, &progress_);
    if (trainer_.step() > config_.steps) {
      throw Error("{}: is at step {} already, beyond the {} of train.steps", options_.out,
                  trainer_.step(), config_.steps);
    }
    log::info("step {} of {}", trainer_.step(), config_.steps);
    const bool begins = trainer_.step() == 0;
    SaveSettings();
    const std::string path = options_.out + "/metrics.jsonl";
    MetricsLog metrics(path, begins ? -1 : trainer_.step(), options_.on_metrics);
    record_ = ReadRunRecord(path);
    if (begins && task_.MeasuresBeginning()) {
      if (auto validation = task_.Validate(trainer_, false)) {
        OrderedJson line{{"step", 0}};
        line["score"] = validation->score;
        line["valid"] = std::move(validation->figures);
        metrics.Write(line);
        record_.Add(line);
      }
    }
    Progress progress(config_.name, config_.steps, trainer_.step());
    while (trainer_.step() < config_.steps && !OutOfPatience()) {
      OrderedJson line = Step();
      const bool is_last = trainer_.step() == config_.steps;
      const bool validates = is_last || trainer_.step() % config_.validate_every == 0;
      if (validates) Validate(is_last, line);
      metrics.Write(line);
      for (const auto& sentence : record_.Add(line))
        log::warn("step {}: {}", trainer_.step(), sentence);
      progress.Update(trainer_.step(),
                      fmt::format("loss {:.3f}  {:.0f} tokens/s", line["loss"].get<double>(),
                                  line["tokens_per_s"].get<double>()));
      const bool ends = is_last || OutOfPatience();
      const bool stop = options_.stop != nullptr && options_.stop->load();
      const bool saves = ends || stop || IsCheckpointed(trainer_.step());
      if (saves) checkpoints_.Save(trainer_, config_.fingerprint, progress_);
      if (saves || validates) SaveReport();
      if (stop && !ends) return false;
    }
    if (OutOfPatience()) {
      log::info("ended at step {}: the best validation was that of step {}", trainer_.step(),
                progress_.best_step);
    }
    Save();
    return true;
  }

 private:
  bool OutOfPatience() const {
    return config_.patience > 0 && progress_.worse_since >= config_.patience;
  }

  bool IsCheckpointed(int64_t step) const {
    const Schedule& schedule = config_.schedule;
    return step % config_.checkpoint_every == 0 ||
           (schedule.kind == ScheduleKind::kWsd && step == schedule.stable_until());
  }

  // What the run is told, for whoever reads its folder; `cadre train --config` takes it.
  void SaveSettings() {
    settings_ = config_.given.empty() ? Json::object() : ParseJson(config_.given, "settings");
    settings_["name"] = config_.name;
    settings_["seed"] = config_.seed;
    settings_["train.steps"] = config_.steps;
    WriteFileAtomically(options_.out + "/config.json",
                        settings_.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  }

  // A report that cannot be written ends no run: what a run cannot do without, checkpoints and
  // record, say so themselves.
  void SaveReport() {
    try {
      WriteFileAtomically(options_.out + "/report.html", ReportPage(record_, settings_));
    } catch (const Error& error) {
      log::warn("{}", error.what());
    }
  }

  OrderedJson Step() {
    const Stopwatch watch;
    task_.FillBatches(trainer_.step(), batches_);
    const double lr = config_.schedule.LearningRate(trainer_.step() + 1);
    const StepResult result = trainer_.Step(batches_, lr, task_.objective());
    if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm)) {
      throw Error("loss is {} and the gradient's norm {} at step {}: lower train.lr", result.loss,
                  result.grad_norm, trainer_.step());
    }
    OrderedJson line;
    line["step"] = trainer_.step();
    line["loss"] = result.loss;
    task_.AddMetrics(result, line);
    line["balance"] = result.balance;
    line["lr"] = lr;
    line["grad_norm"] = result.grad_norm;
    line["tokens_per_s"] = Rounded(static_cast<double>(result.rows) / watch.Seconds(), 10);
    const RouterConfig& router = trainer_.model().config.router;
    line["expert_load"] = ExpertLoads(result, router);
    if (!router.dense()) WatchRouters(router, result, line);
    return line;
  }

  // What the routers did beyond their load; `dead_experts` and `collapsed_layers` only where there
  // are any.
  void WatchRouters(const RouterConfig& router, const StepResult& result, OrderedJson& line) {
    const RouterHealth health = ExamineLoad(result.layer_load, router.num_experts);
    line["load_entropy"] = Rounded(health.load_entropy);
    if (router.capacity_factor > 0) line["drop_rate"] = Rounded(result.drop_rate);
    if (result.importance != 0) line["importance"] = result.importance;
    if (result.load != 0) line["load"] = result.load;
    if (result.z != 0) line["z"] = result.z;
    if (trainer_.optimiser().anchor_coefficient != 0) line["anchor"] = result.anchor;
    if (!health.well()) {
      line["dead_experts"] = health.dead;
      line["collapsed_layers"] = health.collapsed;
    }
  }

  void Validate(bool is_last, OrderedJson& line) {
    auto validation = task_.Validate(trainer_, is_last);
    if (!validation) return;
    line["score"] = validation->score;
    line["valid"] = std::move(validation->figures);
    if (!(validation->score < progress_.best_score)) {
      ++progress_.worse_since;
      return;
    }
    progress_ = {validation->score, trainer_.step(), 0};
    SavePresent(options_.out + "/best");
  }

  bool trains_adapters() const { return !trainer_.layout().adapters().empty(); }

  // The trainer's present weights.
  void SavePresent(const std::string& folder) {
    if (trains_adapters()) {
      SaveAdapterFolder(trainer_.layout(), trainer_.weights().data(), text_, folder);
    } else {
      SaveFolder(trainer_.model(), text_, threads_, folder);
    }
  }

  void SaveAdapter() {
    const std::string folder = options_.out + "/adapter";
    if (config_.keep_best && progress_.best_step > 0) {
      const auto best = LoadAdapters(options_.out + "/best", trainer_.model());
      SaveAdapterFolder(best.layout, best.values.data(), text_, folder);
    } else {
      SavePresent(folder);
    }
  }

  void Save() {
    if (trains_adapters()) return SaveAdapter();
    if (config_.keep_best && progress_.best_step > 0) {
      const auto best = LoadedModel::Load(options_.out + "/best");
      const ParameterLayout layout(best.model().config);  // without what only training has
      Buffer<float> weights(layout.size());
      CopyToArena(best.model(), weights.data());
      SaveFinal(layout.Bind(weights.data()), config_, text_, threads_, options_.out);
    } else {
      SaveFinal(trainer_.model(), config_, text_, threads_, options_.out);
    }
  }

  Trainer& trainer_;
  Task& task_;
  const RunConfig& config_;
  const RunText& text_;
  const RunControl& options_;
  ThreadPool& threads_;
  TrainingCheckpoints checkpoints_;
  RunProgress progress_;
  RunRecord record_;
  Json settings_;
  std::vector<TrainingBatch> batches_;
};

}  // namespace

bool BeginRun(const RunControl& options) {
  const bool any = TrainingCheckpoints(options.out + "/checkpoints").Any();
  if (any && !options.resume) {
    throw Error("{}: holds a run already; go on with --resume, or choose another --out",
                options.out);
  }
  CreateFolders(options.out);
  return any;
}

bool Run(Trainer& trainer, Task& task, const RunConfig& config, const RunText& text,
         const RunControl& options, ThreadPool& threads) {
  return Steps(trainer, task, config, text, options, threads).Go();
}

}  // namespace cadre
