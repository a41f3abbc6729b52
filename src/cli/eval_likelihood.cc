// cadre eval on tasks that are scored by likelihood.
#include <algorithm>
#include <memory>

#include "base/progress.h"
#include "cli/eval_command.h"
#include "cli/interrupt.h"

namespace cadre {
namespace {

constexpr int64_t kMostKvBytes = int64_t{1} << 30;  // of items that are scored together

// Rows, logits and keys and values as the scorer has them at most.
RunNeeds NeedsOf(const Benchmark& benchmark, const PromptEncoder& encoder, ModelSession& session) {
  const EvaluationNeeds least = FindNeeds(benchmark, encoder, session.device().threads());
  return {.step_tokens = RowRunner::kStepRows,
          .logit_rows = RowRunner::kStepRows,
          .other_bytes = 2 * least.encoded_bytes,
          .least_pages = least.pages,
          .most_pages = std::max(least.pages, kMostKvBytes / session.kv_page_bytes())};
}

}  // namespace

EvaluationResult RunLikelihood(const EvalCommand& command, const PreparedBenchmark& prepared,
                               ModelSession& session, const PromptEncoder& encoder) {
  const Benchmark benchmark = prepared.benchmark();
  if (session.has_budget()) session.Fit(NeedsOf(benchmark, encoder, session));
  LikelihoodScorer scorer(
      session.model(), session.experts(), session.device(), command.run.Sequence(),
      session.has_budget() ? session.kv_pages() * session.kv_page_bytes() : kMostKvBytes);
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
  return Evaluate(benchmark, encoder, scorer, session.device().threads(), options);
}

}  // namespace cadre
