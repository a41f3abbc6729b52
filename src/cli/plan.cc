// cadre plan: memory and speed of a run before anything is loaded, and which types would suit the
// machine.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/huge_memory.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/plan_report.h"
#include "cli/run_needs.h"
#include "cli/session.h"
#include "engine/open.h"

namespace cadre {
namespace {

struct PlanCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model;
  RunShape shape;
  std::vector<std::string> routing_files;
  bool json = false;
};

// With --context every sequence may grow to it, else they are as long as what is predicted.
RunNeeds NeedsOf(const PlanCommand& command, const ModelConfig& config) {
  const RunShape& shape = command.shape;
  const int64_t positions =
      command.run.context > 0 ? command.run.context : shape.depth + shape.prompt + shape.generate;
  RunNeeds needs = OneSequence(config, positions, std::max(shape.prompt, shape.depth));
  if (shape.batch == 1) return needs;
  const int64_t pages = needs.least_pages;
  needs = ManySequences(config, shape.batch, needs.step_tokens);
  needs.least_pages = pages + 1;
  needs.most_pages = shape.batch * needs.least_pages;
  return needs;
}

// "Q4_K_M", else all types, the most used first.
std::string TypesText(const LoadedModel& loaded) {
  if (const Mix* mix = MixOf(loaded.model())) return std::string(mix->name);
  std::vector<std::pair<double, std::string>> types;
  for (const auto& tensor : loaded.checkpoint().Tensors()) {
    auto found = std::find_if(types.begin(), types.end(),
                              [&](const auto& type) { return type.second == tensor.type_name; });
    if (found == types.end()) found = types.insert(types.end(), {0, std::string(tensor.type_name)});
    found->first -= static_cast<double>(tensor.data.size());
  }
  std::sort(types.begin(), types.end());
  std::string text;
  for (const auto& [bytes, name] : types) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void Plan(const PlanCommand& command) {
  log::Start(command.shared.log_level);
  const std::string path = ResolveModel(command.model);
  LoadedModel loaded = LoadedModel::Load(path);
  for (const auto& warning : loaded.warnings()) log::warn("{}", warning);
  if (command.run.experts > 0) loaded.SetExpertsPerToken(command.run.experts);
  const Model& model = loaded.model();
  ThreadPool threads(command.shared.threads);
  const auto device = MakeDevice(command.shared, threads);
  PlanReport report{.model = path,
                    .config = model.config,
                    .file_bytes = loaded.checkpoint().bytes(),
                    .types = TypesText(loaded),
                    .device = device->name(),
                    .limits = {},
                    .available_bytes = static_cast<int64_t>(AvailableMemory()),
                    .has_budget = command.run.memory > 0,
                    .memory = {},
                    .prediction = {},
                    .others = {}};
  const Outlook outlook(model, &loaded.checkpoint(), *device, command.shared, command.run,
                        {.shape = command.shape,
                         .needs = NeedsOf(command, model.config),
                         .process_bytes = static_cast<int64_t>(ResidentMemory()),
                         .available_bytes = report.available_bytes,
                         .routing_files = command.routing_files,
                         .others = TypesOfMixes(model)});
  std::tie(report.memory, report.prediction) = outlook.For(model);
  report.others = CompareTypes(model, [&](const Model& other) { return outlook.For(other); });
  report.limits = MeasureLimits(
      command.shared.isa.empty() ? DetectIsa() : ParseIsa(command.shared.isa), threads);
  if (command.json) return PrintJson(ToJson(report, outlook));
  Print(ToText(report, outlook));
}

}  // namespace

void AddPlanCommand(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plan", "Predict memory and speed of a model here, without loading it");
  command->footer(
      "Measures the machine for some seconds on random numbers of the model's shapes, and its disk "
      "on\nsome of the model's experts. Example: cadre plan mixtral.gguf --memory 12G\n"
      "         cadre plan mixtral.gguf --memory 12G --context 8192 --parallel 4 --json");
  auto options = std::make_shared<PlanCommand>();
  AddModel(*command, options->model);
  command->add_option("-p,--prompt", options->shape.prompt, "Tokens of the prompt")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("-n,--generate", options->shape.generate, "Tokens to generate after it")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--parallel", options->shape.batch, "Sequences that generate side by side")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->capture_default_str();
  AddRoutingFiles(*command, options->routing_files);
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  command->remove_option(command->get_option("--lora"));
  AddMemoryOptions(*command, options->run);
  // What is predicted waits for the disk.
  for (const char* name : {"--on-miss", "--low-bit", "--miss-wait", "--miss-gate"})
    command->remove_option(command->get_option(name));
  // Without --memory they say how a model would run that has no room.
  for (const char* name : {"--expert-cache", "--expert-guesses"})
    command->get_option(name)->remove_needs(command->get_option("--memory"));
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Plan(*options); });
}

}  // namespace cadre
