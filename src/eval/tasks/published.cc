#include "eval/tasks/published.h"

#include <filesystem>

namespace cadre {
namespace {

struct Row {
  std::string_view task;
  std::string_view language;
  PublishedFigure figure;
};

constexpr std::string_view kTable2 = "table 2";
constexpr std::string_view kTable3 = "table 3";
constexpr std::string_view kTable4 = "table 4";
constexpr int kUnsaid = PublishedFigure::kUnsaid;

constexpr Row kRows[] = {
    {"mmlu", "", {70.6, 5, kTable2}},
    {"hellaswag", "", {84.4, 0, kTable2}},
    {"hellaswag", "", {86.7, 10, kTable3}},
    {"winogrande", "", {77.2, 0, kTable2}},
    {"winogrande", "", {81.2, 5, kTable3}},
    {"piqa", "", {83.6, 0, kTable2}},
    {"arc_easy", "", {83.1, 0, kTable2}},
    {"arc_challenge", "", {59.7, 0, kTable2}},
    {"arc_challenge", "", {85.8, 25, kTable3}},
    {"triviaqa", "", {71.5, 5, kTable2}},
    {"gsm8k", "", {74.4, 8, kTable2, "maj@8"}},
    {"gsm8k", "", {58.4, 5, kTable3}},
    {"math", "", {28.4, 4, kTable2, "maj@4"}},
    {"humaneval", "", {40.2, 0, kTable2, "pass@1"}},
    {"mbpp", "", {60.7, 3, kTable2, "pass@1"}},
    {"bbq", "", {56.0, kUnsaid, "figure 5"}},
    {"mt_bench", "", {8.3, kUnsaid, kTable3, "", false}},
    {"m_arc", "fr", {58.2, kUnsaid, kTable4}},
    {"m_hellaswag", "fr", {77.4, kUnsaid, kTable4}},
    {"m_mmlu", "fr", {70.9, kUnsaid, kTable4}},
    {"m_arc", "de", {54.3, kUnsaid, kTable4}},
    {"m_hellaswag", "de", {73.0, kUnsaid, kTable4}},
    {"m_mmlu", "de", {71.5, kUnsaid, kTable4}},
    {"m_arc", "es", {55.4, kUnsaid, kTable4}},
    {"m_hellaswag", "es", {77.6, kUnsaid, kTable4}},
    {"m_mmlu", "es", {72.5, kUnsaid, kTable4}},
    {"m_arc", "it", {52.8, kUnsaid, kTable4}},
    {"m_hellaswag", "it", {75.1, kUnsaid, kTable4}},
    {"m_mmlu", "it", {70.9, kUnsaid, kTable4}},
};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

std::optional<PublishedFigure> FindPublished(std::string_view task, std::string_view language,
                                             int shots) {
  std::optional<PublishedFigure> found;
  for (const Row& row : kRows) {
    if (row.task != task || row.language != language) continue;
    if (row.figure.shots == shots) return row.figure;
    if (!found) found = row.figure;
  }
  return found;
}

std::string LanguageOf(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  for (size_t begin = 0; begin < name.size(); ++begin) {
    if (!IsLetter(name[begin])) continue;
    size_t end = begin;
    while (end < name.size() && IsLetter(name[end])) ++end;
    const std::string word = name.substr(begin, end - begin);
    if (word == "fr" || word == "de" || word == "es" || word == "it") return word;
    begin = end;
  }
  return "";
}

}  // namespace cadre
