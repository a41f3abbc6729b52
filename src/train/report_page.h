// What every report of a run looks like and how it behaves: style and script, written into the
// page, which asks the network for nothing.
#pragma once

#include <string_view>

namespace cadre {

std::string_view ReportStyle();
std::string_view ReportScript();

}  // namespace cadre
