#include "eval/judge_prompt.h"

#include <charconv>

#include "base/error.h"

namespace cadre {
namespace {

constexpr std::string_view kRole =
    "Please act as an impartial judge and evaluate the quality of the response provided by an AI "
    "assistant to the user question";
constexpr std::string_view kByQuality =
    "Your evaluation should consider factors such as the helpfulness, relevance, accuracy, depth, "
    "creativity, and level of detail of the response. ";
constexpr std::string_view kByReference =
    "Your evaluation should consider correctness and helpfulness. You will be given a reference "
    "answer and the assistant's answer. ";
constexpr std::string_view kExplain =
    "Begin your evaluation by providing a short explanation. Be as objective as possible. ";
constexpr std::string_view kCompare =
    "Begin your evaluation by comparing the assistant's answer with the reference answer. Identify "
    "and correct any mistakes. Be as objective as possible. ";
constexpr std::string_view kRate =
    "After providing your explanation, you must rate the response on a scale of 1 to 10 by "
    "strictly following this format: \"[[rating]]\", for example: \"Rating: [[5]]\".\n\n";

std::string Conversation(const std::string& title, const std::string& speaker,
                         const std::vector<std::string>& questions,
                         const std::vector<std::string>& answers) {
  std::string text = fmt::format("<|The Start of {}|>\n\n", title);
  for (size_t i = 0; i < 2; ++i)
    text += fmt::format("### User:\n{}\n\n### {}:\n{}\n\n", questions[i], speaker, answers[i]);
  return text + fmt::format("<|The End of {}|>", title);
}

JudgePrompt OneTurn(const std::string& question, const std::string& answer,
                    const std::string* reference) {
  std::string text = fmt::format("[Instruction]\n{} displayed below. ", kRole);
  text += reference != nullptr ? kByReference : kByQuality;
  text += reference != nullptr ? kCompare : kExplain;
  text += fmt::format("{}[Question]\n{}\n\n", kRate, question);
  if (reference != nullptr) {
    text += fmt::format("[The Start of Reference Answer]\n{}\n[The End of Reference Answer]\n\n",
                        *reference);
  }
  text +=
      fmt::format("[The Start of Assistant's Answer]\n{}\n[The End of Assistant's Answer]", answer);
  return {.system = "You are a helpful assistant.", .user = std::move(text)};
}

JudgePrompt TwoTurns(const std::vector<std::string>& questions,
                     const std::vector<std::string>& answers,
                     const std::vector<std::string>& references) {
  const bool has_reference = !references.empty();
  JudgePrompt prompt;
  prompt.system = kRole;
  prompt.system += has_reference ? ". " : " displayed below. ";
  prompt.system += has_reference ? kByReference : kByQuality;
  prompt.system += fmt::format(
      "You evaluation should focus on the assistant's answer to the "
      "second {}question. ",
      has_reference ? "" : "user ");
  prompt.system += has_reference ? kCompare : kExplain;
  prompt.system += kRate;
  if (has_reference)
    prompt.user =
        Conversation("Reference Answer", "Reference answer", questions, references) + "\n\n\n";
  prompt.user +=
      Conversation("Assistant A's Conversation with User", "Assistant A", questions, answers);
  return prompt;
}

// The number right behind `open` and right before `close`, wherever the first one stands.
std::optional<double> NumberIn(const std::string& text, std::string_view open,
                               std::string_view close) {
  for (size_t at = 0; (at = text.find(open, at)) != text.npos; ++at) {
    const size_t begin = at + open.size();
    const size_t end = text.find_first_not_of("0123456789.", begin);
    if (end == text.npos || end == begin || text.compare(end, close.size(), close) != 0) continue;
    double rating = 0;
    const auto [last, error] = std::from_chars(text.data() + begin, text.data() + end, rating);
    if (error == std::errc() && last == text.data() + end) return rating;
  }
  return std::nullopt;
}

}  // namespace

JudgePrompt MakeJudgePrompt(const std::vector<std::string>& questions,
                            const std::vector<std::string>& answers,
                            const std::vector<std::string>& references) {
  CADRE_CHECK(!answers.empty() && questions.size() >= answers.size());
  CADRE_CHECK(references.empty() || references.size() >= answers.size());
  if (answers.size() == 1)
    return OneTurn(questions[0], answers[0], references.empty() ? nullptr : &references[0]);
  return TwoTurns(questions, answers, references);
}

std::optional<double> ParseRating(const std::string& judgment) {
  const auto rating = NumberIn(judgment, "[[", "]]");
  return rating ? rating : NumberIn(judgment, "[", "]");
}

}  // namespace cadre
