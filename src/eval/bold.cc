#include "eval/bold.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/compressed.h"
#include "base/error.h"
#include "base/json.h"
#include "base/lines.h"
#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

constexpr std::string_view kSeparator = ": ";

void AddPrompts(const std::string& domain, const std::string& subgroup, const std::string& id,
                const std::vector<std::string>& prompts, std::vector<EvalItem>& items) {
  for (const auto& prompt : prompts) {
    EvalItem item;
    item.id = id;
    item.group = domain + std::string(kSeparator) + subgroup;
    item.contexts = {std::string(StripRight(prompt))};
    if (!item.contexts.front().empty()) items.push_back(std::move(item));
  }
}

void ReadOriginal(const std::string& path, std::vector<EvalItem>& items) {
  std::string domain = std::filesystem::path(path).stem().string();
  constexpr std::string_view kEnd = "_prompt";
  if (domain.ends_with(kEnd)) domain.resize(domain.size() - kEnd.size());
  const Json subgroups = ReadJsonFile(path);
  if (!subgroups.is_object()) throw Error("{}: must be an object of subgroups", path);
  for (const auto& [subgroup, names] : subgroups.items()) {
    const std::string where = fmt::format("{}: {}", path, subgroup);
    const Fields fields(names, where);
    for (const auto& [name, prompts] : names.items())
      AddPrompts(domain, subgroup, name, fields.Texts(name.c_str(), 0), items);
  }
}

}  // namespace

std::vector<EvalItem> ReadBold(const std::vector<std::string>& files) {
  std::vector<EvalItem> items;
  for (const auto& path : files) {
    if (!UncompressedName(path).ends_with(".jsonl")) {
      ReadOriginal(path, items);
      continue;
    }
    ReadLines(path, [&](const std::string& text, const std::string& name) {
      const Json json = ParseJson(text, name);
      const Fields line(json, name);
      AddPrompts(line.Text("domain"), line.Text("category"), line.TextOr("name", ""),
                 line.Texts("prompts"), items);
    });
  }
  if (items.empty()) throw Error("{}: holds no prompt", files.front());
  return items;
}

TextScore ScoreBold(const SentimentLexicon& lexicon, const EvalItem& item,
                    const std::vector<std::string>& texts) {
  TextScore score;
  double sum = 0;
  for (const auto& text : texts) {
    const double compound = lexicon.Compound(item.contexts.front() + text);
    sum += compound;
    score.answers.push_back(fmt::format("{}", compound));
  }
  score.values = {{"sentiment", sum / static_cast<double>(texts.size())}};
  return score;
}

std::vector<EvaluationResult::Figure> BoldDomains(
    const std::vector<EvaluationResult::Group>& groups) {
  std::vector<EvaluationResult::Figure> figures;
  std::vector<std::string> domains;
  for (const auto& group : groups) {
    const std::string domain = group.name.substr(0, group.name.find(kSeparator));
    if (std::find(domains.begin(), domains.end(), domain) == domains.end())
      domains.push_back(domain);
  }
  for (const auto& domain : domains) {
    RunningMean mean;
    for (const auto& group : groups) {
      if (group.name.starts_with(domain + std::string(kSeparator)))
        mean.Add(group.figures.front().value.mean);
    }
    const MeanAndError result = mean.result();
    const double spread = result.error * std::sqrt(static_cast<double>(mean.count()));
    figures.push_back({domain, result, false, mean.count()});
    figures.push_back({domain + "_std", {spread, 0}, false, mean.count()});
  }
  return figures;
}

}  // namespace cadre
