// cadre eval on tasks whose answers the model writes.
#include <memory>

#include "base/error.h"
#include "base/progress.h"
#include "cli/eval_command.h"
#include "cli/interrupt.h"
#include "cli/run_needs.h"
#include "eval/bold.h"
#include "eval/evaluate_texts.h"

namespace cadre {
namespace {

constexpr int64_t kParallel = 32;

TextsOptions OptionsOf(const EvalCommand& command, const Writing& writing) {
  TextsOptions options;
  options.samples = NumSamples(command);
  options.temperature = command.temperature.value_or(
      options.samples > 1 ? writing.samples_temperature : writing.temperature);
  if (options.samples > 1 && options.temperature == 0)
    throw Error("--samples is {} but --temperature is 0: all would be the same text",
                options.samples);
  options.top_p = command.top_p.value_or(writing.top_p);
  options.max_tokens = command.max_tokens.value_or(writing.max_tokens);
  options.seed = command.shared.seed;
  return options;
}

OrderedJson WritingHead(OrderedJson head, const EvalCommand& command, const TextsOptions& options,
                        const PreparedBenchmark& prepared) {
  head["samples"] = options.samples;
  head["temperature"] = options.temperature;
  head["top_p"] = options.top_p;
  head["max_tokens"] = options.max_tokens;
  if (prepared.checker) head["timeout_s"] = prepared.checker->options().timeout_s;
  if (head["task"] == kPassKeyTask) {
    head["lengths"] = command.pass_keys.lengths;
    head["depths"] = command.pass_keys.depths;
  }
  return head;
}

int64_t NumParallel(const EvalCommand& command) { return command.parallel.value_or(kParallel); }

}  // namespace

void FitWriting(const EvalCommand& command, ModelSession& session) {
  const int64_t parallel = NumParallel(command);
  session.FitContext(ManySequences(session.config(), parallel, EngineConfig().step_tokens),
                     parallel, 1);
}

GeneratorLimits GeneratorLimitsOf(const EvalCommand& command, const ModelSession& session) {
  return {.sequence = command.run.Sequence(),
          .context_length = session.context_length(),
          .parallel = NumParallel(command),
          .kv_bytes = session.kv_pages() * session.kv_page_bytes(),
          .shares = !command.one_by_one};
}

int NumSamples(const EvalCommand& command) { return command.samples.value_or(1); }

EvaluationResult RunWriting(const EvalCommand& command, const PreparedBenchmark& prepared,
                            ModelSession& session, const PromptEncoder& encoder) {
  TextsOptions options = OptionsOf(command, *prepared.task.writing);
  std::unique_ptr<EvalRecord> record;
  if (!command.record.empty()) {
    record = std::make_unique<EvalRecord>(
        command.record,
        WritingHead(RecordHead(command, prepared, encoder.adds_bos(), session.context_length()),
                    command, options, prepared),
        command.resume);
  }
  TextGenerator generator(session.model(), session.experts(), session.device(), session.tokenizer(),
                          GeneratorLimitsOf(command, session));
  std::optional<SentimentLexicon> lexicon;
  if (prepared.task.name == kBoldTask) {
    lexicon.emplace(command.lexicon);
    options.score = [&](const EvalItem& item, const std::vector<std::string>& texts) {
      return ScoreBold(*lexicon, item, texts);
    };
  }
  if (prepared.checker) {
    options.score = [&](const EvalItem& item, const std::vector<std::string>& texts) {
      return ScorePrograms(*prepared.task.writing, item, texts, *prepared.checker);
    };
  }
  std::unique_ptr<Progress> progress;
  options.record = record.get();
  options.cancelled = &Interrupt::flag();
  options.on_progress = [&](int64_t done, int64_t total) {
    if (!progress)
      progress = std::make_unique<Progress>(std::string(prepared.task.name), total, done);
    progress->Update(done);
  };
  EvaluationResult result = EvaluateTexts(prepared.benchmark(), encoder, generator, options);
  if (lexicon) {
    const auto domains = BoldDomains(result.groups);
    result.figures.insert(result.figures.end(), domains.begin(), domains.end());
  }
  return result;
}

void AddWritingOptions(CLI::App& app, EvalCommand& command) {
  app.add_option("--samples", command.samples,
                 "Where the model writes: texts for each item; with more than one also maj@N, the "
                 "vote among them, or pass@10 and pass@100")
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
  app.add_option("--python", command.python,
                 "Where the answers are programs: the interpreter that runs them, in the sandbox; "
                 "default: python3");
  app.add_option("--timeout", command.timeout_s,
                 "... seconds of processor time for each, and three times as many by the clock; "
                 "default: 3")
      ->check(CLI::Range(1, 3600));
  app.add_option("--lexicon", command.lexicon,
                 "Where the sentiment of texts is measured (BOLD): VADER's vader_lexicon.txt");
  auto* judge =
      app.add_option("--judge", command.judge.url,
                     "Who rates the answers of MT-Bench: an endpoint that speaks OpenAI's "
                     "chat completions, as http://localhost:8080/v1");
  app.add_option("--judge-model", command.judge.model, "... its name there")->needs(judge);
  app.add_option("--judge-key-file", command.judge.key_file, "... a file with the key to it")
      ->needs(judge);
  app.add_option("--references", command.references,
                 "... answers to compare with, in math, reasoning and coding");
  app.add_option("--lengths", command.pass_keys.lengths,
                 "Passkey: tokens of a prompt with its answer; default: 512, 1024, ... to the "
                 "context or 32768")
      ->check(AtLeast(1));
  app.add_option("--depths", command.pass_keys.depths,
                 "... where the number stands, per cent of the text before it")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  app.add_option("--trials", command.pass_keys.trials, "... for each length and depth")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
}

void CheckWritingOptions(const EvalCommand& command, const Task& task) {
  const bool is_chat = task.name == kMtBenchTask;
  const struct {
    const char* name;
    bool is_given;
    bool is_of_task;
  } options[] = {
      {"--samples", command.samples.has_value(), task.writing && !is_chat},
      {"--temperature", command.temperature.has_value(), task.writing.has_value()},
      {"--top-p", command.top_p.has_value(), task.writing && !is_chat},
      {"--max-tokens", command.max_tokens.has_value(), task.writing.has_value()},
      {"--parallel", command.parallel.has_value(), task.writing.has_value()},
      {"--python", command.python.has_value(), task.runs_programs()},
      {"--timeout", command.timeout_s.has_value(), task.runs_programs()},
      {"--lexicon", !command.lexicon.empty(), task.name == kBoldTask},
      {"--judge", !command.judge.url.empty(), is_chat},
      {"--references", !command.references.empty(), is_chat},
      {"--lengths", !command.pass_keys.lengths.empty(), task.name == kPassKeyTask},
      {"--data", !command.data.empty(), task.name != kPassKeyTask},
  };
  for (const auto& option : options) {
    if (option.is_given && !option.is_of_task)
      throw Error("{} is given but {} has no use for it", option.name, task.title);
  }
  if (task.name == kBoldTask && command.lexicon.empty())
    throw Error(
        "BOLD measures sentiment with VADER's lexicon: --lexicon must name "
        "vader_lexicon.txt");
  if (!command.judge.url.empty() && command.judge.model.empty())
    throw Error("--judge is given but --judge-model is not: the endpoint must be told which");
}

}  // namespace cadre
