// A training run from a configuration to the files of a model: tokenizer, data, steps, validation,
// checkpoints, metrics.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "train/train_config.h"

namespace cadre {

struct PretrainOptions {
  std::string out;      // folder of the run
  bool resume = false;  // go on from the newest checkpoint, or from the start when there is none
  const std::atomic<bool>* stop = nullptr;  // set: checkpoint after this step and return
  std::function<void(const std::string& json_line)>
      on_metrics;  // also written to out/metrics.jsonl
};

// Leaves in `out`: tokenizer.model, metrics.jsonl, checkpoints/, and when all steps are done model/
// (Hugging Face directory) and NAME.gguf. Returns whether all steps are done. Throws Error for bad
// data, and when `out` holds a run and resume is false.
bool Pretrain(const TrainConfig& config, const PretrainOptions& options, Device& device,
              BackwardOps& ops);

}  // namespace cadre
