#include "train/pretrain.h"

#include <filesystem>
#include <numbers>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_trainer.h"
#include "train/dataset.h"
#include "train/documents.h"

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

class PretrainTask : public Task {
 public:
  PretrainTask(const TrainConfig& config, const Tokenizer& tokenizer, ThreadPool& threads)
      : config_(config), data_(Read(config.train_files, tokenizer, threads)) {
    for (const auto& [name, files] : config.valid_files)
      groups_.push_back({name, Read(files, tokenizer, threads)});
  }

  const Dataset& data() const { return data_; }

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override {
    batches.resize(1);
    data_.FillBatch(step, config_.batch_tokens, config_.seed, batches[0]);
    tokens_ = (step + 1) * config_.batch_tokens;
  }

  Objective& objective() override { return objective_; }

  void AddMetrics(const StepResult& result, OrderedJson& line) override {
    line["tokens"] = tokens_;
    line["cross_entropy"] = result.objective;
  }

  std::optional<Validation> Validate(Trainer& trainer, bool is_last) override {
    if (groups_.empty()) return std::nullopt;
    Validation validation;
    for (const auto& group : groups_)
      validation.figures[group.name] = ValidateGroup(trainer, group, is_last, validation.score);
    validation.score /= static_cast<double>(groups_.size());
    return validation;
  }

 private:
  Dataset Read(const std::vector<std::string>& files, const Tokenizer& tokenizer,
               ThreadPool& threads) const {
    return Dataset(InFolder(config_.data_folder, files), tokenizer, config_.segment_tokens,
                   threads);
  }

  // Loss and bits per byte of the first validate_tokens (all of them where that is 0, or in the
  // end). To `score` is added the loss of the first validate_tokens.
  OrderedJson ValidateGroup(Trainer& trainer, const ValidationGroup& group, bool is_last,
                            double& score) const {
    double nats = 0;
    int64_t targets = 0;
    std::optional<double> first_loss;
    TrainingBatch batch;
    for (size_t segment = 0; segment < group.data.num_segments();) {
      segment = group.data.FillInOrder(segment, config_.batch_tokens, batch);
      nats += trainer.Evaluate(batch);
      targets += static_cast<int64_t>(batch.ids.size());
      if (config_.validate_tokens == 0 || targets < config_.validate_tokens) continue;
      if (!first_loss) first_loss = nats / static_cast<double>(targets);
      if (!is_last) break;
    }
    const double loss = nats / static_cast<double>(targets);
    score += first_loss.value_or(loss);
    const double share =
        static_cast<double>(targets) / static_cast<double>(group.data.tokens_per_epoch());
    const double bytes = share * static_cast<double>(group.data.text_bytes());
    return {
        {"loss", loss}, {"bits_per_byte", nats / std::numbers::ln2 / bytes}, {"tokens", targets}};
  }

  const TrainConfig& config_;
  Dataset data_;
  std::vector<ValidationGroup> groups_;
  CrossEntropy objective_;
  int64_t tokens_ = 0;
};

}  // namespace

bool Pretrain(const TrainConfig& config, const RunControl& options, Device& device,
              BackwardOps& ops) {
  BeginRun(options);
  const Tokenizer tokenizer = RunTokenizer(config, options.out, device.threads().num_threads());
  ModelConfig model = config.model;
  model.vocab_size = tokenizer.vocab_size();
  model.bos_id = tokenizer.bos_id();
  model.eos_ids = {tokenizer.eos_id()};
  PretrainTask task(config, tokenizer, device.threads());
  Trainer trainer(model, config.optimiser, device, ops);
  trainer.Initialise(config.seed, config.init_sigma);
  const auto tokens = static_cast<double>(task.data().tokens_per_epoch());
  log::info(
      "{} documents, {:.2f} M tokens, {:.2f} bytes per token; {:.2f} M parameters, {:.2f} M active",
      task.data().num_documents(), tokens / 1e6,
      static_cast<double>(task.data().text_bytes()) / tokens,
      static_cast<double>(model.TotalParameters()) / 1e6,
      static_cast<double>(model.ActiveParameters()) / 1e6);
  return Run(trainer, task, config, {tokenizer, ""}, options, device.threads());
}

}  // namespace cadre
