// cadre train: pre-trains a model from a configuration file.
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/shared_options.h"
#include "cpu/cpu_backward.h"
#include "cpu/cpu_device.h"
#include "train/pretrain.h"

namespace cadre {
namespace {

struct TrainOptions {
  SharedOptions shared;
  std::string config;
  std::vector<std::string> settings;
  std::string out;
  bool resume = false;
  bool json = false;
};

std::string Documentation() {
  std::string text =
      "Example: cadre train --config models/nano/train.json --set data.folder=corpus --out "
      "runs/nano\n\n"
      "Leaves in --out: tokenizer.model, metrics.jsonl (a line per step), checkpoints/, and at the "
      "end model/ (a Hugging Face\n"
      "folder) and NAME.gguf. A killed run goes on with --resume and ends in the same "
      "weights.\n\nConfiguration keys (defaults):\n";
  for (const auto& [key, doc] : TrainConfigKeys()) text += fmt::format("  {:<24} {}\n", key, doc);
  return text;
}

void Train(const TrainOptions& options) {
  log::Start(options.shared.log_level);
  const Json json = options.config.empty() ? Json::object() : ReadJsonFile(options.config);
  const TrainConfig config =
      ParseTrainConfig(json, options.settings, options.config.empty() ? "--set" : options.config);
  const Isa isa = options.shared.isa.empty() ? DetectIsa() : ParseIsa(options.shared.isa);
  ThreadPool threads(options.shared.threads);
  const auto device = MakeCpuDevice(isa, threads);
  const auto ops = MakeCpuBackward(isa, threads);
  const Interrupt interrupt;
  PretrainOptions run{
      .out = options.out, .resume = options.resume, .stop = &Interrupt::flag(), .on_metrics = {}};
  if (options.json) {
    run.on_metrics = [](const std::string& line) {
      Print(line + "\n");
      FlushOutput();
    };
  }
  const bool done = Pretrain(config, run, *device, *ops);
  if (options.json) return;
  Print(done ? fmt::format("{0}/model and {0}/{1}.gguf are written\n", options.out, config.name)
             : fmt::format("stopped; go on with --resume\n"));
}

}  // namespace

void AddTrainCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "Pre-train a model on text");
  auto options = std::make_shared<TrainOptions>();
  options->shared.log_level = "info";
  command->footer(Documentation());
  command->add_option("--config", options->config, "A JSON file of configuration keys");
  command
      ->add_option("--set", options->settings, "key=value, overriding the file; may be given again")
      ->take_all();
  command->add_option("--out", options->out, "The folder of the run")->required();
  command->add_flag("--resume", options->resume, "Go on from the newest checkpoint in --out");
  command->add_flag("--json", options->json,
                    "Print the metrics of every step on stdout, a JSON object a line");
  AddSharedOptions(*command, options->shared);
  command->remove_option(command->get_option("--seed"));  // the configuration has it
  command->callback([options] { Train(*options); });
}

}  // namespace cadre
