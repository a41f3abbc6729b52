#include "transfer/transfer_report.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace cadre {

std::string ReportTable(const std::vector<ReportRow>& rows) {
  const bool compared = std::any_of(rows.begin(), rows.end(),
                                    [](const ReportRow& row) { return row.measured.with_teacher; });
  std::string table = "| model | active / all parameters | loss | perplexity |";
  table += compared ? " KL to teacher | same first choice |\n" : "\n";
  table += compared ? "|---|---:|---:|---:|---:|---:|\n" : "|---|---:|---:|---:|\n";
  for (const auto& row : rows) {
    const Measured total = row.measured.Total();
    table += fmt::format("| {} | {:.3f} M / {:.3f} M | {:.4f} | {:.2f} |", row.name,
                         static_cast<double>(row.config.ActiveParameters()) / 1e6,
                         static_cast<double>(row.config.TotalParameters()) / 1e6, total.loss,
                         std::exp(total.loss));
    if (compared) {
      table += row.measured.with_teacher
                   ? fmt::format(" {:.4f} | {:.1f} % |", total.kl, 100 * total.top1_agreement)
                   : " – | – |";
    }
    table += "\n";
  }
  return table;
}

OrderedJson ReportJson(const std::vector<ReportRow>& rows) {
  OrderedJson json = OrderedJson::object();
  for (const auto& row : rows) {
    OrderedJson of{
        {"parameters",
         {{"total", row.config.TotalParameters()}, {"active", row.config.ActiveParameters()}}}};
    of.update(FiguresOf(row.measured.Total(), row.measured.with_teacher));
    of["groups"] = row.measured.Figures();
    json[row.name] = std::move(of);
  }
  return json;
}

ReportRow TeacherRow(const ModelConfig& config, const MeasuredGroups& beside) {
  ReportRow row{"teacher", config, {}};
  for (const auto& [name, group] : beside.groups) {
    Measured own;
    own.tokens = group.tokens;
    own.loss = own.beginning_loss = group.teacher_loss;
    row.measured.groups.emplace_back(name, own);
  }
  return row;
}

}  // namespace cadre
