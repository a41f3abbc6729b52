#include "base/error.h"
#include "eval/tasks/choice_item.h"
#include "eval/tasks/python_text.h"
#include "eval/tasks/readers.h"
#include "eval/tasks/text_score.h"

namespace cadre {
namespace {

struct Question {
  std::string id;
  std::string text;
  std::vector<std::string> aliases;
};

// {context: "Question: ...\nAnswer:", answer, aliases}
Question ReadFoundry(const Fields& line) {
  constexpr std::string_view kBegin = "Question: ", kEnd = "\nAnswer:";
  const std::string context = line.Text("context");
  if (!context.starts_with(kBegin) || !context.ends_with(kEnd) ||
      context.size() < kBegin.size() + kEnd.size()) {
    line.Fail("context", "'Question: ', the question, and 'Answer:' in a line of its own");
  }
  return {.id = {},
          .text = context.substr(kBegin.size(), context.size() - kBegin.size() - kEnd.size()),
          .aliases = line.Texts("aliases")};
}

Question ReadQuestion(const Fields& line) {
  if (line.Has("context")) return ReadFoundry(line);
  const bool is_original = line.Has("Question");
  const Fields answer = line.Object(is_original ? "Answer" : "answer");
  return {.id = line.TextOr(is_original ? "QuestionId" : "question_id", ""),
          .text = line.Text(is_original ? "Question" : "question"),
          .aliases = answer.Texts(is_original ? "Aliases" : "aliases")};
}

std::string Comparable(std::string_view answer) { return WithoutPunctuation(Lowered(answer)); }

}  // namespace

// The question mark is the harness's, also behind a question that has one.
EvalItem ReadTriviaQa(const Fields& line) {
  Question question = ReadQuestion(line);
  if (question.text.empty()) throw Error("{}: the question is empty", line.name());
  EvalItem item;
  item.id = std::move(question.id);
  item.contexts = {"Question: " + question.text + "?\nAnswer:"};
  item.example = item.contexts.front() + " " + question.aliases.front();
  item.answers = std::move(question.aliases);
  return item;
}

TextScore ScoreTriviaQa(const EvalItem& item, const std::vector<std::string>& texts) {
  const auto extract = [](const std::string& text) -> std::optional<std::string> {
    return Comparable(Strip(text));
  };
  return ScoreAnswers(texts, {{"", extract}}, [&](const std::string& answer) {
    for (const auto& alias : item.answers) {
      if (Comparable(alias) == answer) return true;
    }
    return false;
  });
}

}  // namespace cadre
