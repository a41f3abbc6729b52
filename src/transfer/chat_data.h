// Conversations and instructions as `cadre sft` reads them: what is learnt, of the teacher or of
// the text, are the answers.
#pragma once

#include "align/sft_task.h"
#include "transfer/step_data.h"
#include "transfer/transfer_config.h"

namespace cadre {

class ChatData : public StepData {
 public:
  // Reads and encodes all files of the configuration; there may be none. Throws Error for bad data.
  ChatData(const TextConfig& config, const ChatText& text, ThreadPool& threads);
  ChatData(const ChatData&) = delete;
  ChatData& operator=(const ChatData&) = delete;

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override;
  void AddMetrics(const StepResult& result, OrderedJson& line) const override;
  std::vector<std::string> Groups() const override;
  void ForEachHeldBack(size_t group, bool all,
                       const std::function<void(const TrainingBatch&, bool)>& take) const override;

 private:
  struct Group {
    std::string name;
    const SampleSet* samples;
  };
  SftConfig config_;
  int64_t validate_tokens_;
  std::vector<InstructionSource> train_, valid_;
  std::vector<Group> groups_;
  std::unique_ptr<SftTask> steps_;  // none where nothing is trained on
};

}  // namespace cadre
