// cadre perplexity: how well a model predicts a text, and how far it is from another artefact of
// it.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/session.h"
#include "eval/context_perplexity.h"

namespace cadre {
namespace {

constexpr int64_t kDefaultWindow = 512;

struct PerplexityCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model;
  std::string file;
  std::string against;
  std::vector<int64_t> contexts;  // a table over these, instead of one figure
  bool json = false;
};

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

OrderedJson ToJson(const PerplexityResult& result, int64_t window, bool compares) {
  OrderedJson json = {{"perplexity", result.perplexity},
                      {"perplexity_error", result.perplexity_error},
                      {"loss_nats", result.loss.mean},
                      {"tokens", result.tokens},
                      {"context", window}};
  if (!compares) return json;
  json["against_perplexity"] = result.reference_perplexity;
  json["kl_mean"] = result.kl.mean;
  json["kl_mean_error"] = result.kl.error;
  json["kl_max"] = result.kl_max;
  json["top1_agreement"] = result.top1_agreement.mean;
  json["top1_agreement_error"] = result.top1_agreement.error;
  const auto& layers = result.routing_agreement;
  json["routing_agreement"] = layers.empty() ? OrderedJson() : OrderedJson(Mean(layers));
  json["routing_agreement_by_layer"] = layers;
  return json;
}

std::string ToText(const PerplexityResult& result, int64_t window, bool compares) {
  std::string text =
      fmt::format("perplexity         {:.4f} +- {:.4f}  ({} tokens, windows of {})\n",
                  result.perplexity, result.perplexity_error, result.tokens, window);
  if (!compares) return text;
  text += fmt::format("the other's        {:.4f}\n", result.reference_perplexity);
  text += fmt::format("KL divergence      {:.6f} +- {:.6f} nats, at most {:.4f}\n", result.kl.mean,
                      result.kl.error, result.kl_max);
  text += fmt::format("same first choice  {:.2f} +- {:.2f} %\n", 100 * result.top1_agreement.mean,
                      100 * result.top1_agreement.error);
  if (result.routing_agreement.empty()) return text + "same experts       no routers to compare\n";
  const auto [low, high] =
      std::minmax_element(result.routing_agreement.begin(), result.routing_agreement.end());
  return text + fmt::format("same experts       {:.2f} %  (layers: {:.2f} to {:.2f} %)\n",
                            100 * Mean(result.routing_agreement), 100 * *low, 100 * *high);
}

OrderedJson ToJson(const std::vector<ContextPerplexity>& rows) {
  OrderedJson table = OrderedJson::array();
  for (const auto& row : rows) {
    table.push_back({{"context", row.context},
                     {"perplexity", row.perplexity},
                     {"perplexity_error", row.perplexity_error},
                     {"loss_nats", row.loss.mean}});
  }
  return {{"by_context", std::move(table)}, {"tokens", rows.front().tokens}};
}

std::string ToText(const std::vector<ContextPerplexity>& rows) {
  std::string text = fmt::format("context  perplexity of the same {} tokens\n", rows[0].tokens);
  for (const auto& row : rows)
    text +=
        fmt::format("{:>7}  {:.4f} +- {:.4f}\n", row.context, row.perplexity, row.perplexity_error);
  return text;
}

int64_t Window(const PerplexityCommand& command) {
  if (!command.contexts.empty()) return command.contexts.back();
  return command.run.context > 0 ? command.run.context : kDefaultWindow;
}

// The second half of a window is predicted, and its routers' choices are kept.
RunNeeds NeedsOf(const PerplexityCommand& command, const ModelSession& session, int64_t tokens) {
  const ModelConfig& config = session.config();
  const int64_t window = std::min(Window(command), tokens);
  RunNeeds needs = session.OneSequence(window, window);
  needs.logit_rows = window - window / 2;
  needs.other_bytes += 4 * window * config.num_layers * config.router.top_k;
  return needs;
}

void Run(PerplexityCommand command) {
  std::sort(command.contexts.begin(), command.contexts.end());
  ModelSession session(command.model, TextNeed::kTokens, command.shared, command.run);
  std::optional<OpenedModel> other;
  std::optional<ResidentExperts> other_experts;
  std::optional<WindowScorer> reference;
  if (!command.against.empty()) {
    other = OpenModel(ResolveModel(command.against), TextNeed::kNone);
    for (const auto& warning : other->warnings) log::warn("{}", warning);
    other_experts.emplace(other->model.model().weights);
    reference.emplace(other->model.model(), *other_experts, session.device(),
                      command.run.Sequence());
  }
  const std::vector<int32_t> ids = session.EncodePrompt(
      command.file == "-" ? ReadStandardInput() : std::string(MappedFile(command.file).text()));
  session.Fit(NeedsOf(command, session, std::ssize(ids)));
  WindowScorer scorer(session.model(), session.experts(), session.device(), command.run.Sequence());
  std::unique_ptr<Progress> progress;
  const auto& vocabulary = session.tokenizer().vocabulary();
  const PerplexityOptions options{.context = Window(command),
                                  .bos_id = vocabulary.add_bos ? vocabulary.bos_id : -1,
                                  .on_progress =
                                      [&](int64_t done, int64_t total) {
                                        if (!progress)
                                          progress =
                                              std::make_unique<Progress>("predicting", total);
                                        progress->Update(done);
                                      },
                                  .cancelled = &Interrupt::flag()};
  const Interrupt interrupt;
  if (!command.contexts.empty()) {
    const auto rows = PerplexityByContext(scorer, ids, command.contexts, options);
    progress.reset();
    if (Interrupt::flag()) throw Error("{}: stopped", command.model);
    return command.json ? PrintJson(ToJson(rows)) : Print(ToText(rows));
  }
  const PerplexityResult result =
      Perplexity(scorer, reference ? &*reference : nullptr, ids, options);
  progress.reset();
  if (Interrupt::flag()) throw Error("{}: stopped", command.model);
  const int64_t window = std::min(options.context, std::ssize(ids));
  if (session.has_budget()) LogFetching(session.experts().stats());
  if (!command.json) return Print(ToText(result, window, reference.has_value()));
  OrderedJson json = ToJson(result, window, reference.has_value());
  if (session.has_budget()) json["experts"] = ToJson(session.experts().stats());
  PrintJson(json);
}

}  // namespace

void AddPerplexityCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "perplexity", "Measure how well a model predicts a text, and how far it is from another");
  command->footer(
      "The text is cut into windows of --context tokens (default: 512), each begins with BOS, and "
      "the\n"
      "second half of each is predicted: as llama.cpp does, so that figures can be compared.\n"
      "Example: cadre perplexity mixtral-q4_k.gguf --file text.txt --against Mixtral-8x7B-v0.1");
  auto options = std::make_shared<PerplexityCommand>();
  AddModel(*command, options->model);
  command->add_option("--file", options->file, "The text; -: standard input")->required();
  auto* against = command->add_option(
      "--against", options->against,
      "A model to compare with, such as the one before quantisation: KL divergence from it, "
      "agreement of likeliest tokens and of routers");
  auto* contexts = command->add_option("--contexts", options->contexts,
                                       "A table instead: the same tokens, predicted with contexts "
                                       "of these lengths, as 512 2048 8192");
  contexts->check(AtLeast(4))->excludes(against);
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  command->get_option("--context")->excludes(contexts);
  AddMemoryOptions(*command, options->run);
  command->get_option("--memory")->excludes(against);  // it bounds one model
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Run(*options); });
}

}  // namespace cadre
