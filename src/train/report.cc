#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/html.h"
#include "base/json.h"
#include "base/median.h"
#include "train/report_chart.h"
#include "train/report_page.h"
#include "train/report_sections.h"

namespace cadre {
namespace {

using Out = std::back_insert_iterator<std::string>;

constexpr std::string_view kValid = "valid/";

std::string Shown(const Json& value) {
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Setting(const Json& settings, const char* key, const std::string& fallback) {
  if (!settings.is_object()) return fallback;
  const auto found = settings.find(key);
  return found == settings.end() ? fallback : Shown(*found);
}

std::string KindOf(const RunRecord& record, const Json& settings) {
  if (record.Find("dpo_loss") != nullptr) return "Preference tuning (DPO)";
  if (settings.is_object() && settings.contains("model")) return "Fine-tuning";
  return "Training";
}

void WriteTile(const char* name, const std::string& value, const std::string& more, Out out) {
  fmt::format_to(out, "<div><dt>{}</dt><dd>{}{}</dd></div>", name, Html(value),
                 more.empty() ? "" : fmt::format("<small>{}</small>", Html(more)));
}

double MedianOf(const Series& series) {
  std::vector<double> values;
  for (const auto& point : series.points()) values.push_back(point.mean());
  return Median(std::move(values));
}

void WriteHead(const RunRecord& record, const Json& settings, Out out) {
  const std::string name = Setting(settings, "name", "model");
  fmt::format_to(out, "<header><h1>{}</h1><p>{} with Cadre</p></header><dl class=\"tiles\">",
                 Html(name), KindOf(record, settings));
  const std::string steps = Setting(settings, "train.steps", "");
  WriteTile("Step", fmt::format("{}", std::max<int64_t>(0, record.last_step())),
            steps.empty() ? "" : "of " + steps, out);
  if (const Series* loss = record.Find("loss"))
    WriteTile("Loss", Short(loss->points().back().mean()),
              fmt::format("training; {} in the beginning", Short(loss->points().front().mean())),
              out);
  if (record.best_step() > 0)
    WriteTile("Best validation", Short(record.best_score()),
              fmt::format("at step {}", record.best_step()), out);
  if (const Series* accuracy = record.Find("valid/rewards/accuracies"))
    WriteTile("Pairs told apart", fmt::format("{:.1f} %", 100 * accuracy->last()), "held back",
              out);
  if (const Series* tokens = record.Find("tokens"))
    WriteTile("Tokens", fmt::format("{:.0f}", tokens->last()), "", out);
  if (const Series* pairs = record.Find("pairs"))
    WriteTile("Pairs", fmt::format("{:.0f}", pairs->last()), "", out);
  if (const Series* epoch = record.Find("epoch"))
    WriteTile("Epochs", fmt::format("{:.2f}", epoch->last()), "", out);
  if (const Series* speed = record.Find("tokens_per_s"))
    WriteTile("Tokens per second", fmt::format("{:.0f}", MedianOf(*speed)), "median", out);
  fmt::format_to(out, "</dl>");
}

void WriteAlarms(const RunRecord& record, Out out) {
  if (record.alarms().empty()) return;
  fmt::format_to(out, "<section class=\"alarms\"><h2>Alarms of the routers</h2><ul>");
  for (const auto& alarm : record.alarms())
    fmt::format_to(out, "<li>Step {}: {}</li>", alarm.step, Html(alarm.sentence));
  fmt::format_to(out, "</ul></section>");
}

void WriteValidations(const RunRecord& record, Out out) {
  constexpr size_t kMostRows = 60;
  size_t rows = 0;
  for (const auto& [name, series] : record.series()) {
    if (!name.starts_with(kValid) || rows == kMostRows) continue;
    if (rows++ == 0)
      fmt::format_to(out,
                     "<section><h2>Validation</h2><div class=\"scroll\"><table><thead><tr><th "
                     "scope=\"col\">figure</th><th scope=\"col\">first</th><th "
                     "scope=\"col\">last</th></tr></thead><tbody>");
    fmt::format_to(out, "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                   Html(name.substr(kValid.size())), Short(series.points().front().mean()),
                   Short(series.last()));
  }
  if (rows > 0) fmt::format_to(out, "</tbody></table></div></section>");
}

void WriteSettings(const Json& settings, Out out) {
  if (!settings.is_object() || settings.empty()) return;
  fmt::format_to(out,
                 "<section><h2>Configuration</h2><p class=\"note\">What is not said has the "
                 "default that the command's --help gives.</p><div class=\"scroll\"><table "
                 "class=\"settings\"><tbody>");
  for (const auto& [key, value] : settings.items())
    fmt::format_to(out, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", Html(key),
                   Html(Shown(value)));
  fmt::format_to(out, "</tbody></table></div></section>");
}

}  // namespace

std::string ReportPage(const RunRecord& record, const Json& settings) {
  std::string page;
  const Out out = std::back_inserter(page);
  fmt::format_to(
      out,
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta "
      "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\"><link rel=\"icon\" "
      "href=\"data:,\"><title>{}: report of a run</title><style>{}{}</style></head><body>",
      Html(Setting(settings, "name", "model")), PagePalette(), ReportStyle());
  WriteHead(record, settings, out);
  WriteAlarms(record, out);
  fmt::format_to(out, "<main>");
  page += ReportSections(record);
  WriteValidations(record, out);
  WriteSettings(settings, out);
  fmt::format_to(out, "</main><script>{}</script></body></html>\n", ReportScript());
  return page;
}

RunRecord WriteReport(const std::string& folder, const std::string& out) {
  const std::string lines = folder + "/metrics.jsonl", settings = folder + "/config.json";
  if (!std::filesystem::exists(lines))
    throw Error("{}: is no folder of a run: metrics.jsonl is missing", folder);
  RunRecord record = ReadRunRecord(lines);
  if (record.last_step() < 0) throw Error("{}: has no step of a run", lines);
  const Json config = std::filesystem::exists(settings) ? ReadJsonFile(settings) : Json::object();
  WriteFileAtomically(out, ReportPage(record, config));
  return record;
}

}  // namespace cadre
