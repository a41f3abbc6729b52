// cadre eval --task mt_bench.
#include <memory>

#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "cli/eval_command.h"
#include "cli/interrupt.h"
#include "cli/judge.h"
#include "eval/mt_bench.h"

namespace cadre {
namespace {

OrderedJson MtBenchHead(const EvalCommand& command, const PreparedBenchmark& prepared,
                        const MtBenchOptions& options, int64_t context) {
  OrderedJson head = RecordHead(command, prepared, true, context);
  head["temperature"] = options.temperature ? OrderedJson(*options.temperature) : OrderedJson();
  head["max_tokens"] = options.max_tokens;
  head["judge"] = command.judge.model;
  head["references_sha256"] =
      command.references.empty() ? "" : Sha256(MappedFile(command.references).bytes());
  return head;
}

}  // namespace

EvaluationResult RunMtBench(const EvalCommand& command, PreparedBenchmark& prepared,
                            ModelSession& session) {
  auto questions = ReadMtBench(prepared.files.items.front(), command.references);
  if (command.limit > 0 && command.limit < std::ssize(questions))
    questions.resize(static_cast<size_t>(command.limit));
  prepared.num_items = std::ssize(questions);
  std::optional<Judge> judge;
  MtBenchOptions options{
      .max_tokens = command.max_tokens.value_or(prepared.task.writing->max_tokens),
      .temperature = command.temperature,
      .seed = command.shared.seed};
  if (command.judge.url.empty()) {
    log::warn("there is no --judge: the answers are written and not rated");
  } else {
    judge.emplace(command.judge);
    options.judge = [&](const JudgePrompt& prompt) { return judge->Ask(prompt); };
  }
  std::unique_ptr<EvalRecord> record;
  if (!command.record.empty()) {
    record = std::make_unique<EvalRecord>(
        command.record, MtBenchHead(command, prepared, options, session.context_length()),
        command.resume);
  }
  TextGenerator generator(session.model(), session.experts(), session.device(), session.tokenizer(),
                          GeneratorLimitsOf(command, session));
  std::unique_ptr<Progress> progress;
  options.record = record.get();
  options.cancelled = &Interrupt::flag();
  options.on_progress = [&](int64_t done, int64_t total) {
    if (!progress) progress = std::make_unique<Progress>("mt_bench", total, done);
    progress->Update(done);
  };
  return EvaluateMtBench(questions, session.tokenizer(), session.chat_version(), generator,
                         options);
}

}  // namespace cadre
