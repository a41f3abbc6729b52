// A benchmark that the model answers by writing: items through prompts and texts to figures. The
// record has a line for each item:
//   {"task", "index", "id", "group", "prompt_ids": [...],
//    "samples": [{"ids": [...], "text", "finish", "answer", "result"}, ...],
//    "expected": [...], "correct", "values": {name: value, ...}}
// `answer` is what was taken out of the text, `correct` the first value. A value that the item does
// not count for is null. A prompt that lost its beginning to fit has "cut": true.
#pragma once

#include "eval/evaluate.h"
#include "eval/generation.h"

namespace cadre {

struct TextsOptions {
  int samples = 1;  // of each item
  double temperature = 0;
  double top_p = 1;
  int64_t max_tokens = 256;
  uint64_t seed = 0;
  // In place of the task's own: for scores that need more than the item.
  std::function<TextScore(const EvalItem& item, const std::vector<std::string>& texts)> score = {};
  EvalRecord* record = nullptr;  // may be null
  std::function<void(int64_t done, int64_t total)> on_progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

// As Evaluate (eval/evaluate.h), in the order of the data: the record's lines count as answered;
// the last of them is written again and must come out the same. `benchmark.task` has `writing`.
EvaluationResult EvaluateTexts(const Benchmark& benchmark, const PromptEncoder& encoder,
                               TextGenerator& generator, const TextsOptions& options);

}  // namespace cadre
