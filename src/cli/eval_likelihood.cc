// cadre eval on tasks that are scored by likelihood.
#include <memory>

#include "base/progress.h"
#include "cli/eval_command.h"
#include "cli/interrupt.h"

namespace cadre {

EvaluationResult RunLikelihood(const EvalCommand& command, const PreparedBenchmark& prepared,
                               ModelSession& session, const PromptEncoder& encoder) {
  LikelihoodScorer scorer(session.model(), session.experts(), session.device(),
                          command.run.Sequence());
  std::unique_ptr<EvalRecord> record;
  if (!command.record.empty()) {
    record = std::make_unique<EvalRecord>(
        command.record, RecordHead(command, prepared, encoder.adds_bos(), session.context_length()),
        command.resume);
  }
  std::unique_ptr<Progress> progress;
  const EvaluationOptions options{.one_by_one = command.one_by_one,
                                  .record = record.get(),
                                  .on_progress =
                                      [&](int64_t done, int64_t total) {
                                        if (!progress)
                                          progress = std::make_unique<Progress>(
                                              std::string(prepared.task.name), total, done);
                                        progress->Update(done);
                                      },
                                  .cancelled = &Interrupt::flag()};
  return Evaluate(prepared.benchmark(), encoder, scorer, session.device().threads(), options);
}

}  // namespace cadre
