// Text as `cadre train` reads it: documents as streams of tokens, groups of files to measure by.
#pragma once

#include <optional>

#include "train/dataset.h"
#include "train/token_stream.h"
#include "transfer/step_data.h"
#include "transfer/transfer_config.h"

namespace cadre {

class TextData : public StepData {
 public:
  // Reads and encodes all files of the configuration, which outlives it; there may be none. Throws
  // Error for bad data.
  TextData(const TextConfig& config, const Tokenizer& tokenizer, ThreadPool& threads);

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override;
  void AddMetrics(const StepResult& result, OrderedJson& line) const override;
  std::vector<std::string> Groups() const override;
  void ForEachHeldBack(size_t group, bool all,
                       const std::function<void(const TrainingBatch&, bool)>& take) const override;

 private:
  struct Group {
    std::string name;
    Dataset data;
  };
  const TextConfig& config_;
  std::optional<Dataset> train_;       // none where nothing is trained on
  std::optional<TokenStream> stream_;  // of train_
  std::vector<Group> groups_;
  int64_t tokens_ = 0;  // of all steps up to the one filled last
};

}  // namespace cadre
