// A study's report as one page of HTML that needs nothing else: its figures, with the script that
// draws them.
#pragma once

#include <string>

#include "base/json_fwd.h"

namespace cadre {

std::string StudyPage(const OrderedJson& report);

}  // namespace cadre
