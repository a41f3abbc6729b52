#include "cli/eval_report.h"

#include <fmt/format.h>

#include <optional>

#include "eval/tasks/published.h"
#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

std::optional<PublishedFigure> Published(const EvalReport& report) {
  return FindPublished(report.task->name, LanguageOf(report.files.items.front()), report.shots);
}

OrderedJson PublishedJson(const EvalReport& report) {
  const auto figure = Published(report);
  if (!figure) return {};
  OrderedJson json = {{"model", "Mixtral 8x7B"},
                      {"metric", MetricName(report.task->published_metric)},
                      {"value", figure->percent / 100},
                      {"shots", nullptr},
                      {"source", fmt::format("arXiv 2401.04088, {}", figure->source)}};
  if (figure->shots != PublishedFigure::kUnsaid) json["shots"] = figure->shots;
  return json;
}

std::string PublishedText(const EvalReport& report) {
  const auto figure = Published(report);
  if (!figure) return "";
  const std::string shots =
      figure->shots == PublishedFigure::kUnsaid ? "" : fmt::format("{} shots, ", figure->shots);
  return fmt::format("   Mixtral 8x7B: {:.1f} % ({}{})", figure->percent, shots, figure->source);
}

std::string FigureText(const EvaluationResult::Figure& figure) {
  if (figure.metric == Metric::kPerplexity)
    return fmt::format("{:>8.3f}    +- {:.3f}", figure.value.mean, figure.value.error);
  return fmt::format("{:>8.2f} %  +- {:.2f}", 100 * figure.value.mean, 100 * figure.value.error);
}

double ItemsPerSecond(const EvaluationResult& result) {
  const auto scored = static_cast<double>(result.items - result.items_kept);
  return result.seconds > 0 ? scored / result.seconds : 0;
}

}  // namespace

OrderedJson ToJson(const EvalReport& report) {
  const EvaluationResult& result = report.result;
  OrderedJson json = {{"task", report.task->name}};
  for (const auto& figure : result.figures) {
    const std::string name(MetricName(figure.metric));
    json[name] = figure.value.mean;
    json[name + "_stderr"] = figure.value.error;
  }
  json["stderr"] = result.figures.front().value.error;
  json["items"] = result.items;
  json["items_from_record"] = result.items_kept;
  json["items_cut"] = result.items_cut;
  json["shots"] = report.shots;
  json["bos"] = report.bos;
  json["data"] = report.files.items;
  json["shots_data"] = report.shots > 0 ? report.files.shots : std::vector<std::string>();
  if (!result.groups.empty()) {
    OrderedJson groups = OrderedJson::object();
    for (const auto& group : result.groups) {
      groups[group.name] = {
          {std::string(MetricName(result.figures.front().metric)), group.value.mean},
          {"stderr", group.value.error},
          {"items", group.items}};
    }
    json["groups"] = std::move(groups);
  }
  json["published"] = PublishedJson(report);
  json["seconds"] = result.seconds;
  json["items_per_s"] = ItemsPerSecond(result);
  return json;
}

std::string ToText(const EvalReport& report) {
  const EvaluationResult& result = report.result;
  std::string text = fmt::format("{}, {} items, {} shots, {:.1f} items/s\n", report.task->title,
                                 result.items, report.shots, ItemsPerSecond(result));
  for (const auto& figure : result.figures) {
    text +=
        fmt::format("{:<12} {}{}\n", MetricName(figure.metric), FigureText(figure),
                    figure.metric == report.task->published_metric ? PublishedText(report) : "");
  }
  if (result.groups.empty()) return text;
  text += "\n";
  for (const auto& group : result.groups) {
    text +=
        fmt::format("{:<40} {:>6} items {:>7.2f} %  +- {:.2f}\n", Replaced(group.name, "_", " "),
                    group.items, 100 * group.value.mean, 100 * group.value.error);
  }
  return text;
}

}  // namespace cadre
