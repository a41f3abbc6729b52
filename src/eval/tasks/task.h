// The benchmarks: what each is called, how its lines are read and asked, what is measured. The
// prompts are those of lm-evaluation-harness (commit 4e7e0d4) where it has the task; a file in
// another published form of the same questions is asked with the same text.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/tasks/fields.h"
#include "eval/tasks/item.h"

namespace cadre {

enum class Metric : uint8_t {
  kAcc,         // the right request has the largest sum of log-probabilities; ties: the first
  kAccNorm,     // ... of sum / characters of the answer
  kAccBytes,    // ... of sum / UTF-8 bytes of the answer
  kGreedy,      // every token of the right continuation is the likeliest; called acc
  kPerplexity,  // exp of the mean of minus the sum
  kMc1,         // TruthfulQA: the best answer lies above all others of its set
  kMc2,         // TruthfulQA: probability mass on true answers of the second set
  kMc1AsAcc,    // the same, called acc where they are the only one
  kMc2AsAcc,
};

// The key in JSON and in tables.
std::string_view MetricName(Metric metric);

// A part of a data set, by what its file's name says.
enum class Split : uint8_t { kTest, kValidation, kTrain };

enum class ShotOrder : uint8_t { kFirst, kDrawn };

// What the lines of a .csv file are.
enum class CsvForm : uint8_t { kNone, kMmlu, kNamedColumns };

struct Task {
  std::string_view name;
  std::string_view title;
  // Lower-case letters and digits only: what --task and the names of files in a folder may say.
  std::vector<std::string_view> keys;
  Split split = Split::kTest;
  Split shots_split = Split::kTrain;
  int default_shots = 0;
  ShotOrder shot_order = ShotOrder::kDrawn;
  std::vector<Metric> metrics;  // the first one is what the task is known by
  Metric published_metric = Metric::kAcc;
  CsvForm csv = CsvForm::kNone;
  EvalItem (*read)(const Fields& line) = nullptr;  // throws Error

  // The harness draws one example more where it takes training and evaluation for the same split.
  bool draws_one_more() const { return shot_order == ShotOrder::kDrawn && split != Split::kTest; }
};

std::span<const Task> Tasks();

// By any of its keys, however it is written ("arc-easy", "ARC_Easy"). Throws Error with the names
// there are.
const Task& FindTask(std::string_view name);

// Lower case, letters and digits only.
std::string TaskKey(std::string_view name);

}  // namespace cadre
