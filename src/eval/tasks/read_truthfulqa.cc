#include <algorithm>

#include "base/error.h"
#include "eval/tasks/choice_item.h"
#include "eval/tasks/readers.h"
#include "eval/tasks/truthfulqa_preamble.h"

namespace cadre {
namespace {

struct Targets {
  std::vector<std::string> answers;
  std::vector<bool> is_true;

  void Add(std::string answer, bool true_answer) {
    answers.push_back(std::move(answer));
    is_true.push_back(true_answer);
  }
};

struct TruthfulQuestion {
  std::string text;
  Targets mc1;  // one is true
  Targets mc2;
};

// {choices, labels} or {answer: 0 or 1, ...}
Targets ReadTargets(const Fields& line, const char* key) {
  const Fields targets = line.Object(key);
  Targets read;
  if (targets.Has("choices")) {
    const auto answers = targets.Texts("choices");
    const Json& labels = targets.Value("labels");
    if (!labels.is_array() || labels.size() != answers.size())
      line.Fail(key, "as many labels as choices");
    for (size_t i = 0; i < answers.size(); ++i) {
      if (labels[i] != 0 && labels[i] != 1) line.Fail(key, "choices with labels of 0 and 1");
      read.Add(answers[i], labels[i] == 1);
    }
  } else {
    for (const auto& [answer, label] : line.Value(key).items()) {
      if (label != 0 && label != 1) line.Fail(key, "answers with 0 or 1");
      read.Add(answer, label == 1);
    }
  }
  return read;
}

TruthfulQuestion ReadQuestion(const Fields& line) {
  TruthfulQuestion read;
  if (line.Has("mc1_targets")) {
    read.text = line.Text("question");
    read.mc1 = ReadTargets(line, "mc1_targets");
    read.mc2 = ReadTargets(line, "mc2_targets");
  } else {
    read.text = line.Text("Question");
    read.mc1.Add(line.Text("Best Answer"), true);
    for (const auto& answer : line.TextsOrList("Correct Answers")) read.mc2.Add(answer, true);
    for (const auto& answer : line.TextsOrList("Incorrect Answers")) {
      read.mc1.Add(answer, false);
      read.mc2.Add(answer, false);
    }
  }
  const auto trues = [](const Targets& targets) {
    return std::count(targets.is_true.begin(), targets.is_true.end(), true);
  };
  if (trues(read.mc1) != 1) throw Error("{}: MC1 must have one true answer", line.name());
  if (trues(read.mc2) == 0) throw Error("{}: MC2 must have a true answer", line.name());
  return read;
}

// Answers of both sets stand once.
EvalItem Ask(const Fields& line, bool with_mc1, bool with_mc2) {
  const TruthfulQuestion question = ReadQuestion(line);
  Targets all;
  std::vector<bool> in_mc1, in_mc2;
  int64_t best = 0;
  const auto add = [&](const Targets& targets, bool first) {
    for (size_t i = 0; i < targets.answers.size(); ++i) {
      size_t at = all.answers.size();
      for (size_t j = 0; j < all.answers.size() && !first; ++j) {
        const bool is_same =
            all.answers[j] == targets.answers[i] && all.is_true[j] == targets.is_true[i];
        if (is_same && !in_mc2[j]) at = std::min(at, j);
      }
      if (at == all.answers.size()) {
        all.Add(targets.answers[i], targets.is_true[i]);
        in_mc1.push_back(false);
        in_mc2.push_back(false);
      }
      if (first && targets.is_true[i]) best = static_cast<int64_t>(at);
      (first ? in_mc1 : in_mc2)[at] = true;
    }
  };
  if (with_mc1) add(question.mc1, true);
  if (with_mc2) add(question.mc2, false);
  EvalItem item =
      ChoiceItem(line, fmt::format("{}\n\nQ: {}\nA:", kTruthfulQaPreamble, question.text),
                 std::move(all.answers), best);
  item.is_true = std::move(all.is_true);
  item.in_mc1 = std::move(in_mc1);
  item.in_mc2 = std::move(in_mc2);
  return item;
}

}  // namespace

EvalItem ReadTruthfulQa(const Fields& line) { return Ask(line, true, true); }
EvalItem ReadTruthfulQaMc1(const Fields& line) { return Ask(line, true, false); }
EvalItem ReadTruthfulQaMc2(const Fields& line) { return Ask(line, false, true); }

}  // namespace cadre
