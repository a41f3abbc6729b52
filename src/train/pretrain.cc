#include "train/pretrain.h"

#include <cmath>
#include <filesystem>
#include <numbers>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "engine/save_text.h"
#include "model/save.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_trainer.h"
#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/documents.h"
#include "train/metrics.h"
#include "train/router_health.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> InFolder(const std::string& folder,
                                  const std::vector<std::string>& files) {
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back((fs::path(folder) / file).string());
  return paths;
}

Vocabulary LearnVocabulary(const TrainConfig& config, int num_threads) {
  log::info("learning a tokenizer of {} pieces", config.tokenizer_vocab);
  std::vector<std::string> documents;
  for (const auto& file : InFolder(config.data_folder, config.train_files)) {
    ReadDocuments(file, [&](std::string text) { documents.push_back(std::move(text)); });
  }
  TokenizerTrainerConfig trainer;
  trainer.vocab_size = static_cast<int32_t>(config.tokenizer_vocab);
  trainer.seed = config.seed;
  trainer.num_threads = num_threads;
  return TrainTokenizer(documents, trainer);
}

// The run's tokenizer: the one it has begun with, a given one, or one learnt now.
Tokenizer RunTokenizer(const TrainConfig& config, const std::string& out, int num_threads) {
  const std::string kept = out + "/tokenizer.model";
  if (!fs::exists(kept)) {
    const Vocabulary vocabulary =
        config.tokenizer_path.empty()
            ? LearnVocabulary(config, num_threads)
            : ReadSentencePieceModel(MappedFile(config.tokenizer_path).bytes(),
                                     config.tokenizer_path);
    WriteFileAtomically(kept, WriteSentencePieceModel(vocabulary));
  }
  return Tokenizer(ReadSentencePieceModel(MappedFile(kept).bytes(), kept), kept);
}

struct ValidationGroup {
  std::string name;
  Dataset data;
};

// Loss and bits per byte of the first `max_tokens` of each group (0: all).
OrderedJson Validate(Trainer& trainer, const std::vector<ValidationGroup>& groups,
                     const TrainConfig& config, int64_t max_tokens) {
  OrderedJson result;
  TrainingBatch batch;
  for (const auto& group : groups) {
    double nats = 0;
    int64_t targets = 0;
    for (size_t segment = 0; segment < group.data.num_segments();) {
      segment = group.data.FillInOrder(segment, config.batch_tokens, batch);
      nats += trainer.Evaluate(batch);
      targets += static_cast<int64_t>(batch.ids.size());
      if (max_tokens > 0 && targets >= max_tokens) break;
    }
    const double share =
        static_cast<double>(targets) / static_cast<double>(group.data.tokens_per_epoch());
    const double bytes = share * static_cast<double>(group.data.text_bytes());
    result[group.name] = {{"loss", nats / static_cast<double>(targets)},
                          {"bits_per_byte", nats / std::numbers::ln2 / bytes},
                          {"tokens", targets}};
  }
  return result;
}

double Rounded(double value, double unit) { return std::round(value / unit) * unit; }

// What the routers did beyond expert_load; `dead_experts` and `collapsed_layers` only where there
// are any.
void AddRouterMetrics(const RouterConfig& router, const StepResult& result, OrderedJson& line) {
  if (router.dense()) return;
  const RouterHealth health = ExamineLoad(result.layer_load, router.num_experts);
  const auto rounded = [](const std::vector<double>& values) {
    OrderedJson list = OrderedJson::array();
    for (const double value : values) list.push_back(Rounded(value, 1e-4));
    return list;
  };
  line["load_entropy"] = rounded(health.load_entropy);
  if (router.capacity_factor > 0) line["drop_rate"] = rounded(result.drop_rate);
  if (result.importance != 0) line["importance"] = result.importance;
  if (result.load != 0) line["load"] = result.load;
  if (result.z != 0) line["z"] = result.z;
  if (health.well()) return;
  line["dead_experts"] = health.dead;
  line["collapsed_layers"] = health.collapsed;
}

OrderedJson StepMetrics(const Trainer& trainer, const TrainConfig& config, const StepResult& result,
                        double lr, double seconds) {
  OrderedJson line;
  line["step"] = trainer.step();
  line["tokens"] = trainer.step() * config.batch_tokens;
  line["loss"] = result.loss;
  line["cross_entropy"] = result.cross_entropy;
  line["balance"] = result.balance;
  line["lr"] = lr;
  line["grad_norm"] = result.grad_norm;
  line["tokens_per_s"] = Rounded(static_cast<double>(config.batch_tokens) / seconds, 0.1);
  const auto num_experts = static_cast<size_t>(config.model.router.num_experts);
  OrderedJson loads = OrderedJson::array();
  for (size_t l = 0; l < result.layer_load.size(); l += num_experts) {
    OrderedJson layer = OrderedJson::array();
    for (size_t e = 0; e < num_experts; ++e) {
      layer.push_back(
          Rounded(result.layer_load[l + e] / static_cast<double>(config.model.router.top_k), 1e-4));
    }
    loads.push_back(std::move(layer));
  }
  line["expert_load"] = std::move(loads);
  AddRouterMetrics(config.model.router, result, line);
  return line;
}

void SaveModel(Trainer& trainer, const TrainConfig& config, const Tokenizer& tokenizer,
               ThreadPool& threads, const std::string& out) {
  const std::string folder = out + "/model";
  fs::create_directories(folder);
  const Model model = trainer.layout().Bind(trainer.weights().data());
  SaveSafetensors(model, HuggingFaceFloats(), threads, folder);
  SaveTextFiles(tokenizer.vocabulary(), "", folder);
  const SaveOptions gguf = {.layout = {}, .type_of = [&](const PlannedTensor& tensor) {
                              return UniformType(tensor, config.gguf_type, TensorLayout::kGguf);
                            }};
  SaveGguf(
      model, gguf, threads,
      [&](GgufWriter& writer) { SetTextMetadata(tokenizer.vocabulary(), "", writer); }, config.name,
      fmt::format("{}/{}.gguf", out, config.name));
}

}  // namespace

bool Pretrain(const TrainConfig& config, const PretrainOptions& options, Device& device,
              BackwardOps& ops) {
  const TrainingCheckpoints checkpoints(options.out + "/checkpoints");
  if (checkpoints.Any() && !options.resume) {
    throw Error("{}: holds a run already; go on with --resume, or choose another --out",
                options.out);
  }
  fs::create_directories(options.out);
  const Tokenizer tokenizer = RunTokenizer(config, options.out, device.threads().num_threads());
  ModelConfig model = config.model;
  model.vocab_size = tokenizer.vocab_size();
  model.bos_id = tokenizer.bos_id();
  model.eos_ids = {tokenizer.eos_id()};
  const Dataset data(InFolder(config.data_folder, config.train_files), tokenizer,
                     config.segment_tokens, device.threads());
  std::vector<ValidationGroup> groups;
  for (const auto& [name, files] : config.valid_files) {
    groups.push_back({name, Dataset(InFolder(config.data_folder, files), tokenizer,
                                    config.segment_tokens, device.threads())});
  }
  Trainer trainer(model, config.optimiser, device, ops);
  trainer.Initialise(config.seed, config.init_sigma);
  checkpoints.Restore(trainer, config.fingerprint);
  if (trainer.step() > config.steps) {
    throw Error("{}: is at step {} already, beyond the {} of train.steps", options.out,
                trainer.step(), config.steps);
  }
  log::info(
      "{} documents, {:.2f} M tokens, {:.2f} bytes per token; {:.2f} M parameters, {:.2f} M "
      "active; step {} of {}",
      data.num_documents(), static_cast<double>(data.tokens_per_epoch()) / 1e6,
      static_cast<double>(data.text_bytes()) / static_cast<double>(data.tokens_per_epoch()),
      static_cast<double>(model.TotalParameters()) / 1e6,
      static_cast<double>(model.ActiveParameters()) / 1e6, trainer.step(), config.steps);

  MetricsLog metrics(options.out + "/metrics.jsonl", trainer.step(), options.on_metrics);
  Progress progress(config.name, config.steps, trainer.step());
  RouterAlarm alarm;
  TrainingBatch batch;
  while (trainer.step() < config.steps) {
    const Stopwatch watch;
    data.FillBatch(trainer.step(), config.batch_tokens, config.seed, batch);
    const double lr = config.schedule.LearningRate(trainer.step() + 1);
    const StepResult result = trainer.Step(batch, lr);
    if (!std::isfinite(result.loss))
      throw Error("loss is {} at step {}: lower train.lr", result.loss, trainer.step());
    const double seconds = watch.Seconds();
    OrderedJson line = StepMetrics(trainer, config, result, lr, seconds);
    const bool last = trainer.step() == config.steps;
    if (!groups.empty() && (last || trainer.step() % config.validate_every == 0)) {
      line["valid"] = Validate(trainer, groups, config, last ? 0 : config.validate_tokens);
    }
    metrics.Write(line);
    for (const auto& sentence :
         alarm.Watch(ExamineLoad(result.layer_load, config.model.router.num_experts)))
      log::warn("step {}: {}", trainer.step(), sentence);
    progress.Update(trainer.step(),
                    fmt::format("loss {:.3f}  {:.0f} tokens/s", result.loss,
                                static_cast<double>(config.batch_tokens) / seconds));
    const bool stop = options.stop != nullptr && options.stop->load();
    if (last || stop || trainer.step() % config.checkpoint_every == 0)
      checkpoints.Save(trainer, config.fingerprint);
    if (stop && !last) return false;
  }
  SaveModel(trainer, config, tokenizer, device.threads(), options.out);
  return true;
}

}  // namespace cadre
