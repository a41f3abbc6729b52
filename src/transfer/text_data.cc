#include "transfer/text_data.h"

#include <filesystem>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

std::vector<std::string> InFolder(const std::string& folder,
                                  const std::vector<std::string>& files) {
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back((std::filesystem::path(folder) / file).string());
  return paths;
}

}  // namespace

TextData::TextData(const TextConfig& config, const Tokenizer& tokenizer, ThreadPool& threads)
    : config_(config) {
  const auto read = [&](const std::vector<std::string>& files) {
    return Dataset(InFolder(config.data_folder, files), tokenizer, config.segment_tokens, threads);
  };
  if (!config.train_files.empty()) {
    train_ = read(config.train_files);
    stream_.emplace(std::vector<TokenStream::Source>{{"train", &*train_, 0}}, config.batch_tokens,
                    config.seed);
  }
  for (const auto& [name, files] : config.valid_files) groups_.push_back({name, read(files)});
}

void TextData::FillBatches(int64_t step, std::vector<TrainingBatch>& batches) {
  CADRE_CHECK(stream_.has_value());
  stream_->FillBatches(step, config_.micro_tokens, batches);
  tokens_ = (step + 1) * config_.batch_tokens;
}

void TextData::AddMetrics(const StepResult& /*result*/, OrderedJson& line) const {
  line["tokens"] = tokens_;
}

std::vector<std::string> TextData::Groups() const {
  std::vector<std::string> names;
  for (const auto& group : groups_) names.push_back(group.name);
  return names;
}

void TextData::ForEachHeldBack(size_t group, bool all,
                               const std::function<void(const TrainingBatch&, bool)>& take) const {
  const Dataset& data = groups_[group].data;
  TrainingBatch batch;
  int64_t targets = 0;
  for (size_t segment = 0; segment < data.num_segments();) {
    const bool is_beginning = config_.validate_tokens == 0 || targets < config_.validate_tokens;
    if (!is_beginning && !all) return;
    segment = data.FillInOrder(segment, config_.micro_tokens, batch);
    take(batch, is_beginning);
    targets += batch.CountTargets();
  }
}

}  // namespace cadre
