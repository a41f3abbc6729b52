// The loop of every training run: steps, metrics, validation, checkpoints, the best and the last
// model. A run killed at any moment goes on from its newest checkpoint and ends in the same bits.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "text/tokenizer.h"
#include "train/run_config.h"
#include "train/task.h"

namespace cadre {

struct RunControl {
  std::string out;      // folder of the run
  bool resume = false;  // go on from the newest checkpoint, or from the start when there is none
  const std::atomic<bool>* stop = nullptr;  // set: checkpoint after this step and return
  std::function<void(const std::string& json_line)>
      on_metrics;  // also written to out/metrics.jsonl
};

// The tokenizer that goes with the model.
struct RunText {
  const Tokenizer& tokenizer;
  std::string chat_template;  // Jinja; empty: none
  std::string base = {};      // of adapters: what the model that they are beside is called
};

// Makes the run's folder. Throws Error when it holds a run and `resume` is false. Returns whether
// it holds one. To be called before anything is written or computed.
bool BeginRun(const RunControl& options);

// From the trainer's present weights, or the newest checkpoint's. Leaves in `out`: config.json,
// metrics.jsonl, report.html (train/report.h), checkpoints/, best/ (the model of the best
// validation, a Hugging Face folder), and when all steps are done or config.patience is at its end,
// model/ (Hugging Face folder) and NAME.gguf. Where adapters are trained, best/ is a folder of them
// (model/adapter_files.h), and in place of a model adapter/ is written. Returns whether that is so.
// Throws Error for a loss that is no number, and for files that cannot be written: then the newest
// checkpoint stands.
bool Run(Trainer& trainer, Task& task, const RunConfig& config, const RunText& text,
         const RunControl& options, ThreadPool& threads);

}  // namespace cadre
