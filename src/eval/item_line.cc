#include "eval/item_line.h"

#include "base/error.h"
#include "eval/metrics.h"
#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

OrderedJson Ids(const LikelihoodRequest& request, bool given) {
  const auto split = request.ids.begin() + request.num_given;
  return given ? OrderedJson(std::vector<int32_t>(request.ids.begin(), split))
               : OrderedJson(std::vector<int32_t>(split, request.ids.end()));
}

// Whether all requests have one prompt.
bool SharePrompt(const ItemRequests& requests) {
  for (const auto& request : requests) {
    const auto& first = requests.front();
    if (!std::equal(first.ids.begin(), first.ids.begin() + first.num_given, request.ids.begin(),
                    request.ids.begin() + request.num_given))
      return false;
  }
  return true;
}

}  // namespace

OrderedJson ItemLine(const Task& task, size_t index, const EvalItem& item,
                     const ItemRequests& requests, const ScoredItem& scored) {
  const auto& scores = scored.scores;
  OrderedJson line = {{"task", task.name}, {"index", index}};
  if (!item.id.empty()) line["id"] = item.id;
  if (!item.group.empty()) line["group"] = item.group;
  const bool share = SharePrompt(requests);
  if (share) line["prompt_ids"] = Ids(requests.front(), true);
  OrderedJson choices = OrderedJson::array();
  for (size_t i = 0; i < requests.size(); ++i) {
    OrderedJson choice = OrderedJson::object();
    if (!share) choice["prompt_ids"] = Ids(requests[i], true);
    choice["ids"] = Ids(requests[i], false);
    choice["log_likelihood"] = scores[i].log_likelihood;
    choice["greedy"] = scores[i].is_greedy;
    choice["characters"] = NumCharacters(item.answers[i]);
    choice["bytes"] = item.answers[i].size();
    choices.push_back(std::move(choice));
  }
  line["choices"] = std::move(choices);
  line["gold"] = item.gold;
  line["answer"] = ChosenAnswer(Metric::kAcc, item, scores);
  line["correct"] = ItemValue(task.metrics.front(), item, scores);
  for (const Metric metric : task.metrics) {
    if (metric != Metric::kPerplexity)  // that is of many items
      line[std::string(MetricName(metric))] = ItemValue(metric, item, scores);
  }
  if (scored.is_cut) line["cut"] = true;
  return line;
}

ScoredItem ParseItemLine(const Json& line, size_t index, const EvalItem& item,
                         const std::string& name) {
  const Fields fields(line, name);
  if (fields.Number("index", 0, INT64_MAX) != static_cast<int64_t>(index))
    fields.Fail("index", fmt::format("{}", index).c_str());
  const Json& choices = fields.Value("choices");
  if (!choices.is_array() || choices.size() != item.num_requests())
    throw Error("{}: choices must be a list of {}", name, item.num_requests());
  ScoredItem scored{.scores = {}, .is_cut = JsonBool(line, "cut", false, name)};
  for (const auto& choice : choices) {
    const Fields score(choice, name);
    if (!score.Value("log_likelihood").is_number()) score.Fail("log_likelihood", "a number");
    scored.scores.push_back({.log_likelihood = choice["log_likelihood"].get<double>(),
                             .is_greedy = score.Number("greedy", 0, 1) == 1});
  }
  return scored;
}

}  // namespace cadre
