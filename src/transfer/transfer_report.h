// What came of it: the models of a run side by side on the text kept back, as a table and as
// report.json.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "model/config.h"
#include "transfer/measure.h"

namespace cadre {

// How a run ended.
struct TransferOutcome {
  bool done = false;  // all steps are; else it was stopped and can go on
  std::string table;  // what came of it; empty without text to measure by
};

struct ReportRow {
  std::string name;  // "teacher", "student"
  ModelConfig config;
  MeasuredGroups measured;
};

// Name, active and all parameters, loss, perplexity, and where one has a teacher divergence and
// agreement, in Markdown.
std::string ReportTable(const std::vector<ReportRow>& rows);

// {name: {"parameters": {"total", "active"}, figures..., "groups": {...}}}.
OrderedJson ReportJson(const std::vector<ReportRow>& rows);

// The teacher as a row, from what was measured of a model beside it.
ReportRow TeacherRow(const ModelConfig& config, const MeasuredGroups& beside);

}  // namespace cadre
