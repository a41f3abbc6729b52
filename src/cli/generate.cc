// cadre generate: continues a text and streams what comes.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/routing_table.h"
#include "cli/session.h"
#include "engine/generator.h"

namespace cadre {
namespace {

struct GenerateOptions {
  SharedOptions shared;
  ModelOptions run;
  SamplerConfig sampler;
  std::string model;
  std::string prompt;
  int64_t max_tokens = 128;
  std::vector<std::string> stops;
  bool shows_routing = false;
  std::string routing_layers;
  bool json = false;
};

OrderedJson ToJson(const GenerateResult& result) {
  return {{"text", result.text},
          {"ids", result.ids},
          {"finish_reason", Name(result.finish_reason)},
          {"prompt_tokens", result.prompt_tokens},
          {"generated_tokens", result.ids.size()},
          {"prompt_tokens_per_s", result.prompt_tokens_per_s()},
          {"generated_tokens_per_s", result.generated_tokens_per_s()}};
}

void PrintEnd(const GenerateResult& result, const RoutingTable* table, const Tokenizer& tokenizer) {
  if (!result.text.ends_with('\n')) Print("\n");
  if (table != nullptr) PrintStyled("\n" + table->ToText(tokenizer, UsesColour()));
  log::info("{}: {} prompt tokens at {:.1f}/s, {} generated at {:.1f}/s",
            Name(result.finish_reason), result.prompt_tokens, result.prompt_tokens_per_s(),
            result.ids.size(), result.generated_tokens_per_s());
}

void Generate(const GenerateOptions& options) {
  ModelSession session(options.model, TextNeed::kTokens, options.shared, options.run);
  std::unique_ptr<RoutingTable> table;
  if (options.shows_routing) {
    table = std::make_unique<RoutingTable>(
        ParseLayers(options.routing_layers, session.config().num_layers));
  }
  const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
    table->Observe(layer, routing);
  };
  GenerateRequest request;
  request.prompt_ids =
      session.EncodePrompt(options.prompt == "-" ? ReadStandardInput() : options.prompt);
  request.sampler = options.sampler;
  request.sampler.seed = options.shared.seed;
  request.max_tokens = options.max_tokens;
  request.stops = options.stops;
  request.observer = table ? &observer : nullptr;
  request.cancelled = &Interrupt::flag();
  const int64_t prompt_tokens = std::ssize(request.prompt_ids);
  session.Fit(session.OneSequence(
      std::min(session.context_length(), prompt_tokens + options.max_tokens), prompt_tokens));
  Generator generator(session.model(), session.experts(), session.device(), session.tokenizer(),
                      {options.run.Sequence(), session.context_length()});

  // A token's routing is complete when the next token comes.
  int32_t last_run = request.prompt_ids.empty() ? 0 : request.prompt_ids.back();
  const Interrupt interrupt;
  const GenerateResult result = generator.Generate(request, [&](const TokenEvent& event) {
    if (table && event.id >= 0) table->Commit(std::exchange(last_run, event.id));
    if (!options.json) Print(event.text);
  });
  if (table) table->Commit(last_run);
  if (session.has_budget()) LogFetching(session.experts().stats());
  if (!options.json) return PrintEnd(result, table.get(), session.tokenizer());
  OrderedJson json = ToJson(result);
  if (table) json["routing"] = table->ToJson(session.tokenizer());
  if (session.has_budget()) json["experts"] = ToJson(session.experts().stats());
  PrintJson(json);
}

}  // namespace

void AddGenerateCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Continue a text");
  command->footer(
      "Example: cadre generate nano -p \"Once upon a time\" -n 100 --temperature 0.7 --seed 1\n"
      "         echo \"Once upon a time\" | cadre generate nano -p - --show-routing");
  auto options = std::make_shared<GenerateOptions>();
  AddModel(*command, options->model);
  command->add_option("-p,--prompt", options->prompt, "The text; -: standard input")->required();
  command->add_option("-n,--max-tokens", options->max_tokens, "Most tokens to generate")
      ->check(AtLeast(0))
      ->capture_default_str();
  AddSamplerOptions(*command, options->sampler);
  command->add_option("--stop", options->stops, "End before this text; may be given more than once")
      ->allow_extra_args(false);
  auto* routing = command->add_option(
      "--show-routing", options->routing_layers,
      "Show which experts each token went to, at these layers (default: first, middle, "
      "last), as in --show-routing 0,7");
  routing->expected(0, 1)->type_name("[LAYERS]");
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options, routing] {
    options->shows_routing = routing->count() > 0;
    Generate(*options);
  });
}

}  // namespace cadre
