#include "transfer/chat_data.h"

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

SftConfig SftConfigOf(const TextConfig& config) {
  SftConfig sft;
  static_cast<RunConfig&>(sft) = config;
  sft.data_folder = config.data_folder;
  if (!config.train_files.empty()) sft.train = {{"train", config.train_files}};
  for (const auto& [name, files] : config.valid_files) sft.valid.push_back({name, files});
  sft.held_back = config.held_back;
  sft.skip_bad_lines = config.skip_bad_lines;
  sft.batch_tokens = config.batch_tokens;
  sft.segment_tokens = config.segment_tokens;
  sft.micro_tokens = config.micro_tokens;
  return sft;
}

}  // namespace

ChatData::ChatData(const TextConfig& config, const ChatText& text, ThreadPool& threads)
    : config_(SftConfigOf(config)),
      validate_tokens_(config.validate_tokens),
      train_(ReadInstructions(config_.train, config_, config_.held_back, text, threads)),
      valid_(ReadInstructions(config_.valid, config_, 0, text, threads)) {
  if (!train_.empty()) steps_ = std::make_unique<SftTask>(config_, train_, valid_);
  for (const auto& source : train_)
    if (source.held_back.size() > 0) groups_.push_back({"held_back", &source.held_back});
  for (const auto& source : valid_) groups_.push_back({source.name, &source.train});
}

void ChatData::FillBatches(int64_t step, std::vector<TrainingBatch>& batches) {
  CADRE_CHECK(steps_ != nullptr);
  steps_->FillBatches(step, batches);
}

void ChatData::AddMetrics(const StepResult& result, OrderedJson& line) const {
  steps_->AddMetrics(result, line);
}

std::vector<std::string> ChatData::Groups() const {
  std::vector<std::string> names;
  for (const auto& group : groups_) names.push_back(group.name);
  return names;
}

void ChatData::ForEachHeldBack(size_t group, bool all,
                               const std::function<void(const TrainingBatch&, bool)>& take) const {
  const SampleSet& samples = *groups_[group].samples;
  TrainingBatch batch;
  int64_t targets = 0;
  for (int64_t i = 0; i < samples.size();) {
    const bool is_beginning = validate_tokens_ == 0 || targets < validate_tokens_;
    if (!is_beginning && !all) return;
    batch.Clear();
    do {
      batch.AddSequence(samples.tokens(i), samples.trained(i));
      ++i;
    } while (i < samples.size() && std::ssize(batch.ids) + samples.rows(i) <= config_.micro_tokens);
    take(batch, is_beginning);
    targets += batch.CountTargets();
  }
}

}  // namespace cadre
