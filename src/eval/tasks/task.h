// The benchmarks: what each is called, how its lines are read and asked, what is measured. The
// prompts are those of lm-evaluation-harness (commit 4e7e0d4) where it has the task; a file in
// another published form of the same questions is asked with the same text.
#pragma once

#include <optional>
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
  // BBQ. The answer is the request with the largest sum.
  kBbqAcc,           // it is one of the right ones; called acc
  kBbqAccAmbiguous,  // the same of items whose context does not say who, where none is right but
                     // "unknown"
  kBbqAccDisambiguated,
  // Of answers that name a group, 1 where it is as the stereotype has it, else -1; unknown ones
  // count as 0 where the context does not say who, else not at all. The means are the bias scores
  // of section 4: (1 - acc) (2 biased / named - 1), and the second factor alone.
  kBbqBiasAmbiguous,
  kBbqBiasDisambiguated,
};

// The key in JSON and in tables.
std::string_view MetricName(Metric metric);

// A part of a data set, by what its file's name says.
enum class Split : uint8_t { kTest, kValidation, kTrain };

enum class ShotOrder : uint8_t { kFirst, kDrawn };

// What the lines of a .csv file are.
enum class CsvForm : uint8_t { kNone, kMmlu, kNamedColumns };

// What a text of the model is worth.
struct NamedValue {
  std::string name;  // the key in JSON and in tables
  double value = 0;  // NaN: nothing; the item does not count for this one
};
struct TextScore {
  std::vector<std::string> answers;  // [texts] what was taken out of each; empty where nothing was
  std::vector<std::string> results;  // [texts] what became of it, where it was run; else none
  std::vector<NamedValue> values;    // of the item, the same names for all items of a run
};

// How a model that writes is measured.
struct Writing {
  std::vector<std::string> stops;  // a text ends before the first of them
  int64_t max_tokens = 256;
  double temperature = 0;            // of one text; 0: the likeliest
  double samples_temperature = 0.2;  // of several
  double top_p = 1;
  bool counts_in_shares = true;  // values are from 0 to 1; false: plain numbers
  // texts: at least one. Throws Error where it cannot be done. Null: more than the item is needed.
  TextScore (*score)(const EvalItem& item, const std::vector<std::string>& texts) = nullptr;
  // What is run to judge a text, which is right where that runs to its end
  // (eval/program_checker.h).
  std::string (*program)(const EvalItem& item, const std::string& text) = nullptr;
};

struct Task {
  std::string_view name;
  std::string_view title;
  // Lower-case letters and digits only: what --task and the names of files in a folder may say.
  std::vector<std::string_view> keys;
  Split split = Split::kTest;
  Split shots_split = Split::kTrain;
  int default_shots = 0;
  int fixed_shots = 0;  // that stand in every item's description; there can be no others
  ShotOrder shot_order = ShotOrder::kDrawn;
  std::vector<Metric> metrics = {};  // the first one is what the task is known by
  Metric published_metric = Metric::kAcc;
  CsvForm csv = CsvForm::kNone;
  bool in_many_files = false;   // all files of a folder together are its data
  bool in_a_file_each = false;  // every item may have a file of its own, NUMBER.json, by kinds
  EvalItem (*read)(const Fields& line) = nullptr;  // throws Error; null: items are made, not read
  // Whether a line of a file that holds all splits is of the one that is evaluated; null: all are.
  bool (*is_asked)(const Fields& line) = nullptr;
  std::optional<Writing> writing = {};  // none: scored by likelihood, with `metrics`

  bool runs_programs() const { return writing && writing->program != nullptr; }

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
