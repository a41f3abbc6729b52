#include "align/sft.h"

#include "align/base_model.h"
#include "align/held_routing.h"
#include "align/sft_task.h"
#include "base/log.h"

namespace cadre {

bool Sft(const SftConfig& config, const RunControl& options, Device& device, BackwardOps& ops) {
  BeginRun(options);
  const BaseModel base(config.model, config.lora_from);
  const ModelConfig model = base.config();
  const auto train =
      ReadInstructions(config.train, config, config.held_back, base.text(), device.threads());
  const auto valid = ReadInstructions(config.valid, config, 0, base.text(), device.threads());
  if (config.segment_tokens > model.context_length) {
    log::warn("train.segment_tokens is {} but the model is said to take {} tokens",
              config.segment_tokens, model.context_length);
  }
  SftTask task(config, train, valid);
  const auto trainer = MakeTrainer(base, config, device, ops);
  task.RememberRouting(*trainer);
  HeldTask held(task, config, base.beginning(), trainer->device());
  if (!Run(*trainer, held, config, base.run_text(), options, device.threads())) return false;
  task.drift().Report(*trainer, options.out + "/router-drift.json");
  return true;
}

}  // namespace cadre
