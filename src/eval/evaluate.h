// One benchmark over one model: items through prompts and likelihoods to figures, with a record of
// each item on the way.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "eval/eval_record.h"
#include "eval/likelihood.h"
#include "eval/mean.h"
#include "eval/prompt.h"
#include "eval/tasks/shots.h"
#include "eval/tasks/task.h"

namespace cadre {

// What is asked. All must outlive the evaluation.
struct Benchmark {
  const Task* task = nullptr;
  const std::vector<EvalItem>* items = nullptr;
  const Shots* shots = nullptr;
};

// What scoring takes at least, whatever else there is.
struct EvaluationNeeds {
  int64_t pages = 0;          // of keys and values, for the largest item alone
  int64_t encoded_bytes = 0;  // of prompts that are encoded together
};
// Encodes every item once. Throws Error where an item cannot be asked.
EvaluationNeeds FindNeeds(const Benchmark& benchmark, const PromptEncoder& encoder,
                          ThreadPool& threads);

struct EvaluationOptions {
  // Every choice alone, from its first token on: slow, and the same bits.
  bool one_by_one = false;
  EvalRecord* record = nullptr;  // may be null
  std::function<void(int64_t done, int64_t total)> on_progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

struct EvaluationResult {
  struct Figure {
    std::string name;
    MeanAndError value;
    bool is_share = true;  // from 0 to 1, or -1 to 1; false: a plain number
    int64_t items = 0;     // that count for it
  };
  struct Group {
    std::string name;
    int64_t items = 0;
    std::vector<Figure> figures;
  };
  std::vector<Figure> figures;  // in the order of the task's metrics
  std::vector<Group> groups;    // in their order; empty where items have none
  int64_t items = 0;            // scored, now or before
  int64_t items_kept = 0;       // of these, taken from the record
  int64_t items_cut = 0;        // whose prompt lost its beginning, BOS first, to fit the context
  bool is_whole = false;        // false: cancelled
  double seconds = 0;           // for the items scored now
};

// Scores the items, those of one group after each other, and adds to the record. The record's lines
// count as scored; the last of them is scored again and must come out the same, bit by bit. Throws
// Error where it does not, or an item cannot be asked.
EvaluationResult Evaluate(const Benchmark& benchmark, const PromptEncoder& encoder,
                          LikelihoodScorer& scorer, ThreadPool& threads,
                          const EvaluationOptions& options);

}  // namespace cadre
