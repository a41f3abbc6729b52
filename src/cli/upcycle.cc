// cadre upcycle: a dense model goes on as a sparse one.
#include "transfer/upcycle.h"

#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/training_command.h"

namespace cadre {

void AddUpcycleCommand(CLI::App& app) {
  AddTrainingCommand(
      app, "upcycle", "Make a dense model sparse and train it on",
      "Example: cadre upcycle --set model=runs/dense/model --set data.folder=corpus --set "
      "'data.train=[\"en.train.jsonl.zst\"]' --set\n"
      "'data.valid={\"en\": [\"en.valid.jsonl.zst\"]}' --set baseline=dense --out runs/sparse\n\n"
      "Every expert begins as a copy of the dense FFN and the router at random, so that the model "
      "begins as exactly the dense one\n"
      "(upcycle.noise and upcycle.redraw make copies differ); then it is trained on text as by "
      "cadre train, with the same\nbalance losses. --set train.steps=0 converts only, and needs no "
      "data.\n\n"
      "Leaves in --out: metrics.jsonl (a line per step), checkpoints/, best/ (the model of the "
      "best "
      "validation), and at the end\n"
      "model/ (a Hugging Face folder), NAME.gguf and report.json: the dense model as it was, the "
      "sparse one, and with\nbaseline=dense the dense one trained on the same tokens, on "
      "data.valid, and what is gained. A baseline leaves the same\nin baseline/. A killed run goes "
      "on with --resume and ends in the same weights.",
      UpcycleConfigKeys(),
      [](const Json& json, const std::vector<std::string>& settings, const std::string& name,
         const RunControl& options, Device& device, BackwardOps& ops) {
        UpcycleConfig config = ParseUpcycleConfig(json, settings, name);
        config.model = ResolveModel(config.model);
        const TransferOutcome outcome = Upcycle(config, options, device, ops);
        if (!options.on_metrics) Print(outcome.table);
        return outcome.done;
      });
}

}  // namespace cadre
