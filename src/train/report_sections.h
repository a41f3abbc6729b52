// Which figures of a run's record are shown together, and what is said of them.
#pragma once

#include <string>

#include "train/run_record.h"

namespace cadre {

// Sections of charts: loss, preferences, steps, routers, and what else the record has.
std::string ReportSections(const RunRecord& record);

}  // namespace cadre
