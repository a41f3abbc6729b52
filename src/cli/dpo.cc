// cadre dpo: teaches a model which of two answers is preferred.
#include "align/dpo.h"

#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/training_command.h"

namespace cadre {

void AddDpoCommand(CLI::App& app) {
  AddTrainingCommand(
      app, "dpo", "Tune a model on pairs of a preferred and a rejected answer",
      "Example: cadre dpo --set model=runs/sft/model --set 'data.train=[\"pairs.jsonl\"]' --set "
      "data.held_back=0.1 --out runs/dpo\n\n"
      "A line of data is {\"prompt\": ..., \"chosen\": ..., \"rejected\": ...} of strings or lists "
      "of messages; or without a prompt,\n"
      "two whole conversations, lists of messages or transcripts of \"\\n\\nHuman: ...\\n\\n"
      "Assistant: ...\", which share their\nbeginning.\n\n"
      "The reference is the model that the run starts from. Its log-probabilities are computed "
      "once "
      "and kept in\n"
      "reference.jsonl. Metrics have TRL's names; accuracy_95 is the interval of the accuracy on "
      "held-back pairs.\n\n"
      "Leaves in --out: metrics.jsonl (a line per step), report.html, reference.jsonl, "
      "checkpoints/, best/ (the "
      "model of the best\n"
      "validation), and at the end model/ (a Hugging Face folder) and NAME.gguf, both with "
      "tokenizer and chat template. A killed\n"
      "run goes on with --resume and ends in the same weights.",
      DpoConfigKeys(),
      [](const Json& json, const std::vector<std::string>& settings, const std::string& name,
         const RunControl& options, Device& device, BackwardOps& ops) {
        DpoConfig config = ParseDpoConfig(json, settings, name);
        config.model = ResolveModel(config.model);
        return Dpo(config, options, device, ops);
      });
}

}  // namespace cadre
