#include "train/pretrain.h"

#include <algorithm>
#include <filesystem>
#include <numbers>

#include "base/atomic_file.h"
#include "base/documents.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_trainer.h"
#include "train/dataset.h"
#include "train/token_stream.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

Vocabulary LearnVocabulary(const TrainConfig& config, int num_threads) {
  log::info("learning a tokenizer of {} pieces", config.tokenizer_vocab);
  std::vector<std::string> documents;
  for (const auto& source : config.train) {
    for (const auto& file : PathsOf(source, config.data_folder))
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

struct NamedData {
  std::string name;
  double weight = 0;
  Dataset data;
};

std::vector<NamedData> ReadAll(const std::vector<DataSource>& sources, const TrainConfig& config,
                               const Tokenizer& tokenizer, ThreadPool& threads) {
  std::vector<NamedData> all;
  for (const auto& source : sources) {
    all.push_back(
        {source.name, source.weight,
         Dataset(PathsOf(source, config.data_folder), tokenizer, config.segment_tokens, threads)});
  }
  return all;
}

std::vector<DataSource> ValidationSources(const TrainConfig& config) {
  std::vector<DataSource> sources;
  for (const auto& [name, files] : config.valid_files) sources.push_back({name, files});
  return sources;
}

std::vector<TokenStream::Source> StreamSources(const std::vector<NamedData>& data) {
  std::vector<TokenStream::Source> sources;
  for (const auto& source : data) sources.push_back({source.name, &source.data, source.weight});
  return sources;
}

class PretrainTask : public Task {
 public:
  PretrainTask(const TrainConfig& config, const Tokenizer& tokenizer, ThreadPool& threads)
      : config_(config),
        data_(ReadAll(config.train, config, tokenizer, threads)),
        groups_(ReadAll(ValidationSources(config), config, tokenizer, threads)),
        stream_(StreamSources(data_), config.batch_tokens, config.seed) {}

  void LogData() const {
    for (const auto& source : data_) {
      const auto tokens = static_cast<double>(source.data.tokens_per_epoch());
      log::info("{}: {} documents, {:.2f} M tokens, {:.2f} bytes per token", source.name,
                source.data.num_documents(), tokens / 1e6,
                static_cast<double>(source.data.text_bytes()) / tokens);
    }
  }

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override {
    stream_.FillBatches(step, config_.micro_tokens, batches);
    tokens_ = (step + 1) * config_.batch_tokens;
  }

  Objective& objective() override { return objective_; }

  void AddMetrics(const StepResult& result, OrderedJson& line) override {
    line["tokens"] = tokens_;
    line["epoch"] = stream_.Epochs();
    for (size_t s = 0; data_.size() > 1 && s < data_.size(); ++s)
      line["tokens_of"][data_[s].name] = stream_.TokensOf(s);
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
  // Loss and bits per byte of the first validate_tokens (all of them where that is 0, or in the
  // end). To `score` is added the loss of the first validate_tokens.
  OrderedJson ValidateGroup(Trainer& trainer, const NamedData& group, bool is_last,
                            double& score) const {
    double nats = 0;
    int64_t targets = 0;
    std::optional<double> first_loss;
    TrainingBatch batch;
    const int64_t rows = std::min(config_.batch_tokens, config_.micro_tokens);
    for (size_t segment = 0; segment < group.data.num_segments();) {
      segment = group.data.FillInOrder(segment, rows, batch);
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
  std::vector<NamedData> data_;
  std::vector<NamedData> groups_;
  TokenStream stream_;  // of data_
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
  task.LogData();
  log::info("{:.2f} M parameters, {:.2f} M active",
            static_cast<double>(model.TotalParameters()) / 1e6,
            static_cast<double>(model.ActiveParameters()) / 1e6);
  return Run(trainer, task, config, {tokenizer, ""}, options, device.threads());
}

}  // namespace cadre
