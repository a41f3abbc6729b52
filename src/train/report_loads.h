// Heat maps of the experts' loads over a run, as HTML with inline SVG and tables; drawn like
// train/report_chart.h.
#pragma once

#include <string>

#include "train/run_record.h"

namespace cadre {

// All layers' maps, with their scale. Empty for a dense model and without lines.
std::string LoadMaps(const LoadHistory& load);

}  // namespace cadre
