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
      "Leaves in --out: tokenizer.model, metrics.jsonl (a line per step), checkpoints/, best/ (the "
      "model of the best validation),\n"
      "and at the end model/ (a Hugging Face folder) and NAME.gguf. A killed run goes on with "
      "--resume and ends in the same\nweights.",
      TrainConfigKeys(),
      [](const Json& json, const std::vector<std::string>& settings, const std::string& name,
         const RunControl& options, Device& device, BackwardOps& ops) {
        return Pretrain(ParseTrainConfig(json, settings, name), options, device, ops);
      });
}

}  // namespace cadre
