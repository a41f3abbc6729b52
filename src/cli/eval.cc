// cadre eval: one published benchmark over a model.
#include <algorithm>
#include <memory>
#include <optional>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/eval_report.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/session.h"
#include "eval/evaluate.h"
#include "eval/tasks/data_files.h"

namespace cadre {
namespace {

constexpr int64_t kMostKvBytes = int64_t{1} << 30;  // of items that are scored together

struct EvalCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model;
  std::string task;
  std::string data;
  std::string shots_data;
  std::optional<int> shots;
  int64_t limit = 0;
  std::string record;
  bool resume = false;
  bool one_by_one = false;
  bool json = false;
};

std::vector<std::string> Digests(const std::vector<std::string>& files) {
  std::vector<std::string> digests;
  for (const auto& file : files) digests.push_back(Sha256(MappedFile(file).bytes()));
  return digests;
}

// How many examples, and where they come from; without a file of them the items themselves.
int NumShots(const EvalCommand& command, const Task& task, const DataFiles& files) {
  const int shots = command.shots.value_or(task.default_shots);
  if (shots == 0 || !files.shots.empty()) return shots;
  if (command.shots) {
    log::warn("examples come out of the items themselves: --shots-data names a file of others");
    return shots;
  }
  log::warn("{} is published with {} examples, but there is no --shots-data: none are shown",
            task.title, shots);
  return 0;
}

OrderedJson RecordHead(const EvalCommand& command, const Task& task, const DataFiles& files,
                       const EvalReport& report, int64_t context) {
  return {{"record", "cadre eval"},
          {"model", command.model},
          {"task", task.name},
          {"data_sha256", Digests(files.items)},
          {"items", report.num_items},
          {"shots", report.shots},
          {"shots_sha256", Digests(report.shots > 0 ? files.shots : std::vector<std::string>())},
          {"seed", command.shared.seed},
          {"context_tokens", context},
          {"kv", command.run.kv},
          {"activations", command.run.activations},
          {"bos", report.bos}};
}

// Rows, logits and keys and values as the scorer has them at most.
RunNeeds NeedsOf(const Benchmark& benchmark, const PromptEncoder& encoder, ModelSession& session) {
  const EvaluationNeeds least = FindNeeds(benchmark, encoder, session.device().threads());
  return {.step_tokens = RowRunner::kStepRows,
          .logit_rows = RowRunner::kStepRows,
          .other_bytes = 2 * least.encoded_bytes,
          .least_pages = least.pages,
          .most_pages = std::max(least.pages, kMostKvBytes / session.kv_page_bytes())};
}

void Run(const EvalCommand& command) {
  log::Start(command.shared.log_level);
  if (command.resume && command.run.Misses().on_miss != OnMiss::kWait)
    throw Error("--resume compares bits, which only --on-miss wait keeps");
  const Task& task = FindTask(command.task);
  const DataFiles files = FindDataFiles(task, command.data, command.shots_data);
  std::vector<EvalItem> items = ReadItems(task, files.items);
  if (command.limit > 0 && command.limit < std::ssize(items))
    items.resize(static_cast<size_t>(command.limit));
  EvalReport report{.task = &task, .files = files, .num_items = std::ssize(items)};
  report.shots = NumShots(command, task, files);
  const bool has_pool = report.shots > 0 && !files.shots.empty();
  const auto pool = has_pool ? ReadItems(task, files.shots) : std::vector<EvalItem>();
  const Shots shots(task, items, has_pool ? &pool : nullptr, report.shots, command.shared.seed,
                    has_pool ? files.shots.front() : files.items.front());

  ModelSession session(command.model, TextNeed::kTokens, command.shared, command.run);
  const PromptEncoder encoder(session.tokenizer(), session.context_length());
  report.bos = encoder.adds_bos();
  if (!report.bos) log::warn("the vocabulary wants no BOS: prompts begin without one");
  const Benchmark benchmark{.task = &task, .items = &items, .shots = &shots};
  if (session.has_budget()) session.Fit(NeedsOf(benchmark, encoder, session));
  LikelihoodScorer scorer(
      session.model(), session.experts(), session.device(), command.run.Sequence(),
      session.has_budget() ? session.kv_pages() * session.kv_page_bytes() : kMostKvBytes);
  std::optional<EvalRecord> record;
  if (!command.record.empty()) {
    record.emplace(command.record,
                   RecordHead(command, task, files, report, session.context_length()),
                   command.resume);
  }

  const Interrupt interrupt;
  std::optional<Progress> progress;
  const EvaluationOptions options{.one_by_one = command.one_by_one,
                                  .record = record ? &*record : nullptr,
                                  .on_progress =
                                      [&](int64_t done, int64_t total) {
                                        if (!progress)
                                          progress.emplace(std::string(task.name), total, done);
                                        progress->Update(done);
                                      },
                                  .cancelled = &Interrupt::flag()};
  report.result = Evaluate(benchmark, encoder, scorer, session.device().threads(), options);
  progress.reset();
  if (!report.result.is_whole) {
    throw Error("{}: stopped after {} of {} items{}", task.name, report.result.items,
                report.num_items,
                record ? fmt::format("; --resume goes on with {}", record->path()) : "");
  }
  if (report.result.items_cut > 0) {
    log::warn(
        "{} of {} prompts are longer than the context of {} tokens: they lost their beginning",
        report.result.items_cut, report.num_items, session.context_length());
  }
  if (session.has_budget()) LogFetching(session.experts().stats());
  if (!command.json) return Print(ToText(report));
  OrderedJson json = ToJson(report);
  if (session.has_budget()) json["experts"] = ToJson(session.experts().stats());
  PrintJson(json);
}

std::string TaskNames() {
  std::string names;
  for (const Task& task : Tasks()) {
    names += names.empty() ? "" : ", ";
    names += task.name;
  }
  return names;
}

CLI::Validator IsTask() {
  return CLI::Validator(
      [](std::string& name) -> std::string {
        try {
          FindTask(name);
          return "";
        } catch (const Error& error) {
          return error.what();
        }
      },
      "TASK");
}

}  // namespace

void AddEvalCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("eval", "Measure a model with a published benchmark");
  command->footer(
      "Tasks: " + TaskNames() +
      ".\nPrompts and scores are those of lm-evaluation-harness; the data are the published files, "
      "which are not\nshipped. Keys and values are exact here unless --kv says otherwise.\n"
      "Example: cadre eval mixtral.gguf --task mmlu --data mmlu/ --record mmlu.jsonl");
  auto options = std::make_shared<EvalCommand>();
  options->run.kv = "f32";
  options->shared.seed = kHarnessShotSeed;
  AddModel(*command, options->model);
  command->add_option("--task", options->task, "The benchmark")->required()->check(IsTask());
  command
      ->add_option(
          "--data", options->data,
          "Its file (.jsonl, .json, .csv, with .zst behind it or not), or a folder with it")
      ->required();
  command
      ->add_option("--shots", options->shots,
                   "Examples before each item; default: as published, 5 for MMLU, else none")
      ->check(CLI::Range(0, 1000));
  command->add_option("--shots-data", options->shots_data,
                      "Where the examples come from; default: the training or development file "
                      "beside the data, else the other items");
  command->add_option("--limit", options->limit, "Only the first N items; 0: all")
      ->check(AtLeast(0))
      ->capture_default_str();
  auto* record = command->add_option(
      "--record", options->record,
      "Write a line of JSON for each item as it is scored: ids, log-likelihoods, answer");
  command->add_flag("--resume", options->resume, "Go on with the record of a run that was stopped")
      ->needs(record);
  command->add_flag("--one-by-one", options->one_by_one,
                    "Score every choice alone, sharing nothing: slower, to the same bits");
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Run(*options); });
}

}  // namespace cadre
