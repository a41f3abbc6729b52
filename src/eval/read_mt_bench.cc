#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/lines.h"
#include "eval/mt_bench.h"

namespace cadre {
namespace {

// Whose answers are right or wrong.
bool IsJudgedByReference(const std::string& category) {
  return category == "math" || category == "reasoning" || category == "coding";
}

using References = std::map<std::string, std::vector<std::string>>;  // by question

References ReadReferences(const std::string& path) {
  References references;
  if (path.empty()) return references;
  ReadLines(path, [&](const std::string& text, const std::string& name) {
    const Json json = ParseJson(text, name);
    const Fields line(json, name);
    const Json& choices = line.Value("choices");
    if (!choices.is_array() || choices.empty()) line.Fail("choices", "a list of answers");
    references[line.TextOr("question_id", "")] = Fields(choices[0], name).Texts("turns");
  });
  return references;
}

}  // namespace

std::vector<MtBenchQuestion> ReadMtBench(const std::string& questions,
                                         const std::string& references) {
  const References answers = ReadReferences(references);
  std::vector<MtBenchQuestion> read;
  ReadLines(questions, [&](const std::string& text, const std::string& name) {
    const Json json = ParseJson(text, name);
    const Fields line(json, name);
    MtBenchQuestion question{.id = line.TextOr("question_id", ""),
                             .category = line.Text("category"),
                             .turns = line.Texts("turns"),
                             .references = {}};
    if (question.id.empty()) line.Fail("question_id", "a number");
    if (question.turns.size() > 2) line.Fail("turns", "one or two questions");
    const auto found = answers.find(question.id);
    if (found != answers.end() && IsJudgedByReference(question.category)) {
      if (found->second.size() < question.turns.size())
        throw Error("{}: question {} has fewer answers than turns", references, question.id);
      question.references = found->second;
    }
    read.push_back(std::move(question));
  });
  if (read.empty()) throw Error("{}: holds no question", questions);
  return read;
}

}  // namespace cadre
