#include "cli/training_command.h"

#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cpu/cpu_backward.h"
#include "cpu/cpu_device.h"

namespace cadre {
namespace {

struct TrainingOptions {
  SharedOptions shared;
  std::string config;
  std::vector<std::string> settings;
  std::string out;
  bool resume = false;
  bool json = false;
};

void Train(const TrainingOptions& options, const TrainingCommand& run) {
  log::Start(options.shared.log_level);
  const Json json = options.config.empty() ? Json::object() : ReadJsonFile(options.config);
  const Isa isa = options.shared.isa.empty() ? DetectIsa() : ParseIsa(options.shared.isa);
  ThreadPool threads(options.shared.threads);
  const auto device = MakeCpuDevice(isa, threads);
  const auto ops = MakeCpuBackward(isa, threads);
  const Interrupt interrupt;
  RunControl run_options{
      .out = options.out, .resume = options.resume, .stop = &Interrupt::flag(), .on_metrics = {}};
  if (options.json) {
    run_options.on_metrics = [](const std::string& line) {
      Print(line + "\n");
      FlushOutput();
    };
  }
  const bool done = run(json, options.settings, options.config.empty() ? "--set" : options.config,
                        run_options, *device, *ops);
  if (options.json) return;
  const bool adapters = std::filesystem::exists(options.out + "/adapter");
  Print(!done ? "stopped; go on with --resume\n"
        : adapters
            ? fmt::format("{0}/adapter is written; run it with --lora {0}/adapter\n", options.out)
            : fmt::format("{0}/model and the .gguf file beside it are written\n", options.out));
}

}  // namespace

void AddTrainingCommand(CLI::App& app, const char* name, const char* description,
                        const std::string& about,
                        const std::vector<std::pair<std::string, std::string>>& keys,
                        TrainingCommand run) {
  CLI::App* command = app.add_subcommand(name, description);
  auto options = std::make_shared<TrainingOptions>();
  options->shared.log_level = "info";
  std::string text = about + "\n\nConfiguration keys (defaults):\n";
  for (const auto& [key, doc] : keys) text += fmt::format("  {:<24} {}\n", key, doc);
  command->footer(text);
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
  command->callback([options, run = std::move(run)] { Train(*options, run); });
}

}  // namespace cadre
