// MT-Bench (Zheng et al., arXiv 2306.05685): questions of two turns, answered through the model's
// chat format and rated by a judge from 1 to 10. Who the judge is, is the caller's business. The
// record has a line for each question:
//   {"task", "index", "id", "group": category,
//    "turns": [{"prompt_ids", "ids", "text", "finish"}, ...],
//    "judgments": [{"turn", "rating" (null: none given), "text"}, ...]}
#pragma once

#include "eval/evaluate.h"
#include "eval/generation.h"
#include "eval/judge_prompt.h"
#include "text/chat.h"

namespace cadre {

struct MtBenchQuestion {
  std::string id;
  std::string category;
  std::vector<std::string> turns;       // one or two
  std::vector<std::string> references;  // as many, or none
};

// Lines of {question_id, category, turns[]}; `references` names a file of lines {question_id,
// choices: [{turns[]}]}, or is empty. As FastChat has it, they are shown to the judge for math,
// reasoning and coding only. Throws Error.
std::vector<MtBenchQuestion> ReadMtBench(const std::string& questions,
                                         const std::string& references);

// FastChat's sampling temperature for the category; 0.7 for one it does not know.
double MtBenchTemperature(const std::string& category);

struct MtBenchOptions {
  int64_t max_tokens = 1024;               // of an answer
  std::optional<double> temperature = {};  // none: the category's
  uint64_t seed = 0;
  // The judgment as text; throws Error where there is none to be had. Empty: nothing is judged.
  std::function<std::string(const JudgePrompt& prompt)> judge = {};
  EvalRecord* record = nullptr;  // may be null
  std::function<void(int64_t done, int64_t total)> on_progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

// The figures: "score", the mean of all ratings, and the same of each turn. The record's lines
// count as done. Throws Error for a question that leaves no room for an answer.
EvaluationResult EvaluateMtBench(const std::vector<MtBenchQuestion>& questions,
                                 const Tokenizer& tokenizer, ChatVersion version,
                                 TextGenerator& generator, const MtBenchOptions& options);

}  // namespace cadre
