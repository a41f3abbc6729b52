// cadre report: a training run as one page.
#include "train/report.h"

#include <fmt/format.h>

#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace cadre {
namespace {

struct ReportOptions {
  std::string folder;
  std::string out;
  bool json = false;
};

void Report(const ReportOptions& options) {
  const std::string out = options.out.empty() ? options.folder + "/report.html" : options.out;
  const RunRecord record = WriteReport(options.folder, out);
  if (!options.json) return Print(fmt::format("{} is written\n", out));
  OrderedJson alarms = OrderedJson::array();
  for (const auto& alarm : record.alarms())
    alarms.push_back({{"step", alarm.step}, {"says", alarm.sentence}});
  OrderedJson summary{{"report", out}, {"step", record.last_step()}};
  summary["best_step"] = record.best_step() > 0 ? OrderedJson(record.best_step()) : OrderedJson();
  summary["best_score"] = record.best_step() > 0 ? OrderedJson(record.best_score()) : OrderedJson();
  summary["alarms"] = std::move(alarms);
  PrintJson(summary);
}

}  // namespace

void AddReportCommand(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("report", "Show a run of train, sft or dpo as one page of HTML");
  auto options = std::make_shared<ReportOptions>();
  command->footer(
      "Example: cadre report runs/nano --out nano.html\n\n"
      "Loss, validations, learning rate, gradient norm, speed, routers: their balance, the load of "
      "every expert over time,\nalarms; and the configuration. One file, which asks the network "
      "for nothing. Reads metrics.jsonl and config.json\nof the run alone, so a run that still "
      "goes, or was killed, can be looked at. Training writes the same page to\nreport.html in its "
      "--out at every validation, every checkpoint and the end.");
  command->add_option("RUN", options->folder, "The folder of a run, its --out")->required();
  command->add_option("--out", options->out, "The page to write (report.html in RUN)");
  command->add_flag("--json", options->json,
                    "Print one JSON object: report, step, best_step, best_score, alarms");
  command->callback([options] { Report(*options); });
}

}  // namespace cadre
