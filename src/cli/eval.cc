// cadre eval: one published benchmark over a model.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/eval_command.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/output.h"

namespace cadre {
namespace {

EvaluationResult RunTask(const EvalCommand& command, PreparedBenchmark& prepared,
                         ModelSession& session, EvalReport& report) {
  if (prepared.task.writing) FitWriting(command, session);
  const PromptEncoder encoder(session.tokenizer(), session.context_length());
  report.bos = encoder.adds_bos();
  if (!report.bos) log::warn("the vocabulary wants no BOS: prompts begin without one");
  if (prepared.task.name == kMtBenchTask) return RunMtBench(command, prepared, session);
  if (prepared.task.name == kPassKeyTask) prepared.MakePassKeys(command, session);
  return prepared.task.writing ? RunWriting(command, prepared, session, encoder)
                               : RunLikelihood(command, prepared, session, encoder);
}

void Run(const EvalCommand& command) {
  log::Start(command.shared.log_level);
  CheckWritingOptions(command, FindTask(command.task));
  if (command.resume && command.run.Misses().on_miss != OnMiss::kWait)
    throw Error("--resume compares bits, which only --on-miss wait keeps");
  PreparedBenchmark prepared(command);
  EvalReport report{.task = &prepared.task,
                    .files = prepared.files,
                    .shots = std::max(prepared.num_shots, prepared.task.fixed_shots),
                    .samples = prepared.task.writing ? NumSamples(command) : 0};
  const bool is_chat = prepared.task.name == kMtBenchTask;
  ModelSession session(command.model, is_chat ? TextNeed::kChat : TextNeed::kTokens, command.shared,
                       command.run);
  const Interrupt interrupt;
  report.result = RunTask(command, prepared, session, report);
  report.num_items = prepared.num_items;
  if (!report.result.is_whole) {
    throw Error(
        "{}: stopped after {} of {} items{}", prepared.task.name, report.result.items,
        report.num_items,
        command.record.empty() ? "" : fmt::format("; --resume goes on with {}", command.record));
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
  command->add_option(
      "--data", options->data,
      "Its file (.jsonl, .json, .csv, with .zst or .gz behind it or not), or a folder with it");
  command
      ->add_option(
          "--shots", options->shots,
          "Examples before each item; default: as published for MMLU (5), TriviaQA (5) and GSM8K "
          "(8), else none")
      ->check(CLI::Range(0, 1000));
  command->add_option("--shots-data", options->shots_data,
                      "Where the examples come from; default: the training or development file "
                      "beside the data, else the other items");
  command->add_option("--limit", options->limit, "Only the first N items; 0: all")
      ->check(AtLeast(0))
      ->capture_default_str();
  auto* record = command->add_option(
      "--record", options->record,
      "Write a line of JSON for each item as it is scored: ids, log-likelihoods or texts, "
      "answer");
  command->add_flag("--resume", options->resume, "Go on with the record of a run that was stopped")
      ->needs(record);
  command->add_flag("--one-by-one", options->one_by_one,
                    "Score every choice alone, sharing nothing: slower, to the same bits");
  AddWritingOptions(*command, *options);
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Run(*options); });
}

}  // namespace cadre
