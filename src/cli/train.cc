// cadre train: pre-trains a model from a configuration file.
#include "cli/commands.h"
#include "cli/training_command.h"
#include "train/pretrain.h"

namespace cadre {

void AddTrainCommand(CLI::App& app) {
  AddTrainingCommand(
      app, "train", "Pre-train a model on text",
      "Example: cadre train --config models/nano/train.json --set data.folder=corpus --out "
      "runs/nano\n\n"
      "Leaves in --out: config.json (what it was told), tokenizer.model, metrics.jsonl (a line per "
      "step), report.html (cadre report),\ncheckpoints/, best/ (the model of the best validation), "
      "and at the end model/ (a Hugging Face folder) and NAME.gguf. A killed run goes on with "
      "--resume and ends in the same\nweights.",
      TrainConfigKeys(),
      [](const Json& json, const std::vector<std::string>& settings, const std::string& name,
         const RunControl& options, Device& device, BackwardOps& ops) {
        return Pretrain(ParseTrainConfig(json, settings, name), options, device, ops);
      });
}

}  // namespace cadre
