#include "transfer/step_data.h"

#include "transfer/chat_data.h"
#include "transfer/text_data.h"

namespace cadre {

std::unique_ptr<StepData> OpenStepData(const TextConfig& config, const TextModel& model,
                                       ThreadPool& threads) {
  if (config.chat) return std::make_unique<ChatData>(config, model.chat_text(), threads);
  return std::make_unique<TextData>(config, model.tokenizer(), threads);
}

}  // namespace cadre
