// A run as one page: what it was told, how it went, how its routers are. HTML that needs nothing
// else, made from the run's record and configuration alone.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "train/run_record.h"

namespace cadre {

// `settings`: dotted keys to values, as in config.json of a run's folder; all text is escaped.
std::string ReportPage(const RunRecord& record, const Json& settings);

// Makes the report of the run in a folder, from its metrics.jsonl and, where there is one,
// config.json, and writes it to `out`, whole or not at all. Throws Error when the folder holds no
// record. Returns what it was made from.
RunRecord WriteReport(const std::string& folder, const std::string& out);

}  // namespace cadre
