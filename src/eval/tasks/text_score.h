// From texts of a model to the figures that count right answers: one text alone, the mean over
// several, and the vote among them (maj@k).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/tasks/task.h"

namespace cadre {

// How an answer is taken out of a text, in the form in which answers are compared; none: there is
// none.
struct AnswerRule {
  std::string suffix;  // of its figures' names, as "_flexible"; empty for the main rule
  std::function<std::optional<std::string>(const std::string& text)> extract;
};

// The answer that most give, of equal ones the one that is given first; texts without an answer
// do not vote. None: nobody votes.
std::optional<std::string> Majority(const std::vector<std::optional<std::string>>& answers);

// For each rule "exact_match" + suffix, the share of texts whose answer is right, and with k > 1
// texts "maj@{k}" + suffix. The answers are those of the first rule that finds one.
TextScore ScoreAnswers(const std::vector<std::string>& texts, const std::vector<AnswerRule>& rules,
                       const std::function<bool(const std::string& answer)>& is_right);

// The scores of each task; the items are those of its reader.
TextScore ScoreTriviaQa(const EvalItem& item, const std::vector<std::string>& texts);
TextScore ScoreGsm8k(const EvalItem& item, const std::vector<std::string>& texts);
TextScore ScoreMath(const EvalItem& item, const std::vector<std::string>& texts);
// The first whole number of the text.
TextScore ScorePassKey(const EvalItem& item, const std::vector<std::string>& texts);
// For BLEU and three kinds of ROUGE: the largest likeness to a true reference (max), what it is
// above that to a false one (diff), and whether it is (acc); means over the texts.
TextScore ScoreTruthfulQa(const EvalItem& item, const std::vector<std::string>& texts);

}  // namespace cadre
