#include "cli/eval_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>

#include "base/error.h"
#include "cli/eval_command.h"
#include "eval/tasks/published.h"
#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

std::optional<PublishedFigure> Published(const EvalReport& report) {
  const auto& files = report.files.items;
  return FindPublished(report.task->name, files.empty() ? "" : LanguageOf(files.front()),
                       report.shots);
}

// The figure that the published one stands beside.
std::string PublishedMetric(const EvalReport& report, const PublishedFigure& figure) {
  if (!figure.metric.empty()) return std::string(figure.metric);
  if (report.task->writing) return report.result.figures.front().name;
  return std::string(MetricName(report.task->published_metric));
}

OrderedJson PublishedJson(const EvalReport& report) {
  const auto figure = Published(report);
  if (!figure) return {};
  OrderedJson json = {{"model", "Mixtral 8x7B"},
                      {"metric", PublishedMetric(report, *figure)},
                      {"value", figure->is_percent ? figure->value / 100 : figure->value},
                      {"shots", nullptr},
                      {"source", fmt::format("arXiv 2401.04088, {}", figure->source)}};
  if (figure->shots != PublishedFigure::kUnsaid) json["shots"] = figure->shots;
  return json;
}

std::string PublishedText(const PublishedFigure& figure) {
  const std::string shots =
      figure.shots == PublishedFigure::kUnsaid ? "" : fmt::format("{} shots, ", figure.shots);
  return fmt::format("   Mixtral 8x7B: {:.1f}{} ({}{})", figure.value,
                     figure.is_percent ? " %" : "", shots, figure.source);
}

std::string FigureText(const EvaluationResult::Figure& figure) {
  if (std::isnan(figure.value.mean)) return fmt::format("{:>8}   ", "-");
  if (!figure.is_share)
    return fmt::format("{:>8.3f}    +- {:.3f}", figure.value.mean, figure.value.error);
  return fmt::format("{:>8.2f} %  +- {:.2f}", 100 * figure.value.mean, 100 * figure.value.error);
}

std::string FiguresText(const EvalReport& report) {
  size_t width = 12;
  for (const auto& figure : report.result.figures) width = std::max(width, figure.name.size());
  const auto published = Published(report);
  const std::string metric = published ? PublishedMetric(report, *published) : "";
  std::string text;
  bool is_beside = false;
  for (const auto& figure : report.result.figures) {
    const bool is_published = figure.name == metric;
    is_beside |= is_published;
    text += fmt::format("{:<{}} {}{}\n", figure.name, width, FigureText(figure),
                        is_published ? PublishedText(*published) : "");
  }
  if (published && !is_beside)
    text += fmt::format("{:<{}}       -    {}\n", metric, width, PublishedText(*published));
  return text;
}

std::string GroupText(const EvaluationResult::Group& group) {
  std::string text = fmt::format("{:<40} {:>6} items", Replaced(group.name, "_", " "), group.items);
  for (const auto& figure : group.figures) {
    const double scale = figure.is_share ? 100 : 1;
    text += group.figures.size() > 1 ? "  " + figure.name : "";
    text += fmt::format(" {:>7.2f} {} +- {:.2f}", scale * figure.value.mean,
                        figure.is_share ? "% " : "", scale * figure.value.error);
  }
  return text + "\n";
}

// Shares of right answers by length and depth; the groups are those of PassKeyItems.
std::string GridText(const std::vector<EvaluationResult::Group>& groups) {
  std::vector<int64_t> lengths;
  std::map<int, std::string> rows;  // by depth
  for (const auto& group : groups) {
    long long length = 0;
    int depth = 0;
    CADRE_CHECK(std::sscanf(group.name.c_str(), "%lld tokens, %d %%", &length, &depth) == 2);
    if (lengths.empty() || lengths.back() != length) lengths.push_back(length);
    rows[depth] += fmt::format(" {:>7.1f}", 100 * group.figures.front().value.mean);
  }
  std::string text = fmt::format("{:<14}", "depth / tokens");
  for (const int64_t length : lengths) text += fmt::format(" {:>7}", length);
  for (const auto& [depth, row] : rows) text += fmt::format("\n{:>12} %{}", depth, row);
  return text + "\n";
}

double ItemsPerSecond(const EvaluationResult& result) {
  const auto scored = static_cast<double>(result.items - result.items_kept);
  return result.seconds > 0 ? scored / result.seconds : 0;
}

// Each and its error, and the number of items where not all count; "stderr" is the first one's.
void AddFigures(const std::vector<EvaluationResult::Figure>& figures, int64_t items,
                OrderedJson& json) {
  for (const auto& figure : figures) {
    json[figure.name] = figure.value.mean;
    json[figure.name + "_stderr"] = figure.value.error;
    if (figure.items != items) json[figure.name + "_items"] = figure.items;
  }
  json["stderr"] = figures.front().value.error;
}

}  // namespace

OrderedJson ToJson(const EvalReport& report) {
  const EvaluationResult& result = report.result;
  OrderedJson json = {{"task", report.task->name}};
  AddFigures(result.figures, result.items, json);
  json["items"] = result.items;
  json["items_from_record"] = result.items_kept;
  json["items_cut"] = result.items_cut;
  json["shots"] = report.shots;
  if (report.samples > 0) json["samples"] = report.samples;
  json["bos"] = report.bos;
  json["data"] = report.files.items;
  json["shots_data"] = report.shots > 0 ? report.files.shots : std::vector<std::string>();
  if (!result.groups.empty()) {
    OrderedJson groups = OrderedJson::object();
    for (const auto& group : result.groups) {
      groups[group.name] = OrderedJson::object();
      AddFigures(group.figures, group.items, groups[group.name]);
      groups[group.name]["items"] = group.items;
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
  text += FiguresText(report);
  if (result.groups.empty()) return text;
  text += "\n";
  if (report.task->name == kPassKeyTask) return text + GridText(result.groups);
  for (const auto& group : result.groups) text += GroupText(group);
  return text;
}

}  // namespace cadre
