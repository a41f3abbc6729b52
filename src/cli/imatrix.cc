// cadre imatrix: what a text feeds every matrix of a model, for quantising it; and how its routers
// spread the text over the experts.
#include <algorithm>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/session.h"
#include "quantize/collect.h"
#include "quantize/sensitivity.h"

namespace cadre {
namespace {

constexpr int64_t kDefaultWindow = 512;

struct ImatrixCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model;
  std::string file;
  std::string out;
  int64_t sensitivity_tokens = 512;
  bool is_sensitivity_asked_for = false;
  bool json = false;
};

OrderedJson ToJson(const CollectedImportance& collected, const std::string& out) {
  return {{"tokens", collected.tokens},
          {"context", collected.matrix.chunk_tokens},
          {"file", out},
          {"matrices", collected.matrix.entries.size()},
          {"experts_never_hit", collected.NumNeverHit()},
          {"expert_tokens", collected.routed},
          {"sensitivity", collected.matrix.sensitivity}};
}

// A line per layer: the share of its choices that each expert got, in percent.
std::string ToText(const CollectedImportance& collected, const std::string& out) {
  std::string text =
      fmt::format("{}: {} tensors, {} tokens in windows of {}\n", out,
                  collected.matrix.entries.size(), collected.tokens, collected.matrix.chunk_tokens);
  if (collected.routed.empty()) return text;
  text += "tokens that each expert was given, % of its layer's\n";
  for (size_t l = 0; l < collected.routed.size(); ++l) {
    const auto& counts = collected.routed[l];
    const auto all = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
    text += fmt::format("layer {:<3}", l);
    for (const int64_t count : counts)
      text += fmt::format(" {:6.2f}", 100 * static_cast<double>(count) / std::max(all, 1.0));
    text += "\n";
  }
  text += fmt::format("experts never hit: {}\n", collected.NumNeverHit());
  for (size_t l = 0; l < collected.routed.size(); ++l) {
    for (size_t e = 0; e < collected.routed[l].size(); ++e)
      if (collected.routed[l][e] == 0) text += fmt::format("  layer {} expert {}\n", l, e);
  }
  return text;
}

int64_t Window(const ImatrixCommand& command) {
  return command.run.context > 0 ? command.run.context : kDefaultWindow;
}

// The sums of every matrix, three times: as they are collected, for the file, and in it.
RunNeeds NeedsOf(const ModelSession& session, int64_t window, int64_t tokens) {
  constexpr int64_t kSumBytes = 8 + 4 + 4;
  const ModelConfig& config = session.config();
  RunNeeds needs = session.OneSequence(std::min(window, tokens), std::min(window, tokens));
  needs.logit_rows = needs.step_tokens;
  const int64_t per_expert = 2 * config.dim + config.hidden_dim;
  const int64_t per_layer =
      4 * config.dim + config.q_dim() + config.router.num_experts * per_expert;
  needs.other_bytes += kSumBytes * (config.num_layers * per_layer + config.dim);
  return needs;
}

// It rounds and runs the weights as they lie in the file, which knows no bounds.
int64_t SensitivityTokens(const ImatrixCommand& command, const ModelSession& session) {
  if (!session.has_budget()) return command.sensitivity_tokens;
  if (!command.is_sensitivity_asked_for) {
    log::warn("within --memory no --sensitivity is measured: quantize --budget will go by errors");
  } else if (command.sensitivity_tokens > 0) {
    throw Error("--sensitivity takes all weights at once: --memory cannot bound it");
  }
  return 0;
}

void Run(const ImatrixCommand& command) {
  ModelSession session(command.model, TextNeed::kTokens, command.shared, command.run);
  const auto& vocabulary = session.tokenizer().vocabulary();
  const std::vector<int32_t> ids = session.EncodePrompt(
      command.file == "-" ? ReadStandardInput() : std::string(MappedFile(command.file).text()));
  session.Fit(NeedsOf(session, Window(command), std::ssize(ids)));
  const int64_t sensitivity_tokens = SensitivityTokens(command, session);
  std::unique_ptr<Progress> progress;
  const CollectOptions options{.context = Window(command),
                               .bos_id = vocabulary.add_bos ? vocabulary.bos_id : -1,
                               .sequence = command.run.Sequence(),
                               .on_progress =
                                   [&](int64_t done, int64_t total) {
                                     if (!progress)
                                       progress = std::make_unique<Progress>("collecting", total);
                                     progress->Update(done);
                                   },
                               .cancelled = &Interrupt::flag()};
  const Interrupt interrupt;
  CollectedImportance collected =
      CollectImportance(session.model(), session.experts(), session.device(), ids, options);
  progress.reset();
  if (!Interrupt::flag() && sensitivity_tokens > 0) {
    collected.matrix.sensitivity =
        MeasureSensitivity(session.model(), collected.matrix, session.device(), ids,
                           {.tokens = sensitivity_tokens,
                            .context = options.context,
                            .bos_id = options.bos_id,
                            .on_progress =
                                [&](int64_t done, int64_t total) {
                                  if (!progress)
                                    progress = std::make_unique<Progress>("measuring", total);
                                  progress->Update(done);
                                },
                            .cancelled = options.cancelled});
    progress.reset();
  }
  if (Interrupt::flag()) throw Error("{}: stopped", command.model);
  if (session.has_budget()) LogFetching(session.experts().stats());
  collected.matrix.datasets = {command.file};
  WriteImportanceMatrix(collected.matrix, command.out);
  if (command.json) return PrintJson(ToJson(collected, command.out));
  Print(ToText(collected, command.out));
}

}  // namespace

void AddImatrixCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "imatrix", "Measure on a text what quantisation should keep best (an importance matrix)");
  command->footer(
      "Writes, for every column of every matrix, the sum of the squares of its inputs, each "
      "expert's\n"
      "apart: the file that cadre quantize --imatrix and llama-quantize read. Some 100,000 tokens "
      "of\n"
      "text like what the model will be used for are enough.\n"
      "Example: cadre imatrix Mixtral-8x7B-v0.1 --file text.txt --out mixtral.imatrix");
  auto options = std::make_shared<ImatrixCommand>();
  AddModel(*command, options->model);
  command->add_option("--file", options->file, "The text; -: standard input")->required();
  command->add_option("--out", options->out, "The file to write")->required();
  auto* sensitivity =
      command
          ->add_option(
              "--sensitivity", options->sensitivity_tokens,
              "Tokens to measure on what errors in each tensor do to the model's output, for "
              "quantize --budget (runs the model once per tensor); 0: none")
          ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
          ->capture_default_str();
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options, sensitivity] {
    options->is_sensitivity_asked_for = sensitivity->count() > 0;
    Run(*options);
  });
}

}  // namespace cadre
