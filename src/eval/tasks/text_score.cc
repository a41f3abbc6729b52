#include "eval/tasks/text_score.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {

std::optional<std::string> Majority(const std::vector<std::optional<std::string>>& answers) {
  std::optional<std::string> winner;
  size_t most = 0;
  for (const auto& candidate : answers) {
    if (!candidate) continue;
    size_t votes = 0;
    for (const auto& answer : answers) votes += answer == candidate ? 1 : 0;
    if (votes > most) {
      most = votes;
      winner = candidate;
    }
  }
  return winner;
}

TextScore ScoreAnswers(const std::vector<std::string>& texts, const std::vector<AnswerRule>& rules,
                       const std::function<bool(const std::string& answer)>& is_right) {
  CADRE_CHECK(!texts.empty());
  TextScore score;
  score.answers.resize(texts.size());
  std::vector<NamedValue> votes;
  for (const AnswerRule& rule : rules) {
    std::vector<std::optional<std::string>> answers;
    double right = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      answers.push_back(rule.extract(texts[i]));
      if (!answers.back()) continue;
      right += is_right(*answers.back()) ? 1 : 0;
      if (score.answers[i].empty()) score.answers[i] = *answers.back();
    }
    score.values.push_back(
        {"exact_match" + rule.suffix, right / static_cast<double>(texts.size())});
    if (texts.size() == 1) continue;
    const auto winner = Majority(answers);
    votes.push_back({fmt::format("maj@{}{}", texts.size(), rule.suffix),
                     winner && is_right(*winner) ? 1.0 : 0.0});
  }
  score.values.insert(score.values.end(), votes.begin(), votes.end());
  return score;
}

TextScore ScorePassKey(const EvalItem& item, const std::vector<std::string>& texts) {
  const auto first_number = [](const std::string& text) -> std::optional<std::string> {
    constexpr const char* kDigits = "0123456789";
    const size_t begin = text.find_first_of(kDigits);
    if (begin == text.npos) return std::nullopt;
    const size_t end = std::min(text.find_first_not_of(kDigits, begin), text.size());
    return text.substr(begin, end - begin);
  };
  return ScoreAnswers(texts, {{"", first_number}},
                      [&](const std::string& answer) { return answer == item.answers.front(); });
}

}  // namespace cadre
