// cadre eval on tasks whose answers the model writes.
#include <memory>

#include "base/error.h"
#include "base/progress.h"
#include "cli/eval_command.h"
#include "cli/interrupt.h"
#include "eval/evaluate_texts.h"

namespace cadre {
namespace {

constexpr int64_t kParallel = 32;

TextsOptions OptionsOf(const EvalCommand& command, const Writing& writing) {
  TextsOptions options;
  options.samples = NumSamples(command);
  options.temperature =
      command.temperature.value_or(options.samples > 1 ? writing.samples_temperature : 0);
  if (options.samples > 1 && options.temperature == 0)
    throw Error("--samples is {} but --temperature is 0: all would be the same text",
                options.samples);
  options.top_p = command.top_p.value_or(1);
  options.max_tokens = command.max_tokens.value_or(writing.max_tokens);
  options.seed = command.shared.seed;
  return options;
}

OrderedJson WritingHead(OrderedJson head, const TextsOptions& options) {
  head["samples"] = options.samples;
  head["temperature"] = options.temperature;
  head["top_p"] = options.top_p;
  head["max_tokens"] = options.max_tokens;
  return head;
}

}  // namespace

int NumSamples(const EvalCommand& command) { return command.samples.value_or(1); }

EvaluationResult RunWriting(const EvalCommand& command, const PreparedBenchmark& prepared,
                            ModelSession& session, const PromptEncoder& encoder) {
  TextsOptions options = OptionsOf(command, *prepared.task.writing);
  std::unique_ptr<EvalRecord> record;
  if (!command.record.empty()) {
    record = std::make_unique<EvalRecord>(
        command.record,
        WritingHead(RecordHead(command, prepared, encoder.adds_bos(), session.context_length()),
                    options),
        command.resume);
  }
  TextGenerator generator(session.model(), session.experts(), session.device(), session.tokenizer(),
                          {.sequence = command.run.Sequence(),
                           .context_length = session.context_length(),
                           .parallel = command.parallel.value_or(kParallel),
                           .shares = !command.one_by_one});
  std::unique_ptr<Progress> progress;
  options.record = record.get();
  options.cancelled = &Interrupt::flag();
  options.on_progress = [&](int64_t done, int64_t total) {
    if (!progress)
      progress = std::make_unique<Progress>(std::string(prepared.task.name), total, done);
    progress->Update(done);
  };
  return EvaluateTexts(prepared.benchmark(), encoder, generator, options);
}

void AddWritingOptions(CLI::App& app, EvalCommand& command) {
  app.add_option("--samples", command.samples,
                 "Where the model writes: texts for each item; with more than one also maj@N, the "
                 "vote among them")
      ->check(CLI::Range(1, 1000));
  app.add_option("--temperature", command.temperature,
                 "... how freely; default: 0, the likeliest text, and 0.2 for several")
      ->check(AtLeast(0));
  app.add_option("--top-p", command.top_p, "... among the likeliest tokens of this mass")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--max-tokens", command.max_tokens, "... at most; default: as the task says")
      ->check(AtLeast(1));
  app.add_option("--parallel", command.parallel, "... texts that share a step; default: 32")
      ->check(CLI::Range(1, 4096));
}

void CheckWritingOptions(const EvalCommand& command, const Task& task) {
  if (task.writing) return;
  const std::pair<const char*, bool> options[] = {
      {"--samples", command.samples.has_value()},
      {"--temperature", command.temperature.has_value()},
      {"--top-p", command.top_p.has_value()},
      {"--max-tokens", command.max_tokens.has_value()},
      {"--parallel", command.parallel.has_value()}};
  for (const auto& [name, is_given] : options) {
    if (is_given)
      throw Error("{} is given but {} is scored by likelihood: the model writes nothing", name,
                  task.title);
  }
}

}  // namespace cadre
