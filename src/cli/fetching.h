// What fetching experts within --memory has cost, for people and for scripts.
#pragma once

#include <string>

#include "base/json.h"
#include "model/experts.h"

namespace cadre {

OrderedJson ToJson(const ExpertStats& stats);
// A sentence for the log.
std::string ToText(const ExpertStats& stats);
// A line for each layer, under a head.
std::string ToTable(const ExpertStats& stats);
// Says what experts cost: a sentence to those who want information, the table to those who debug.
void LogFetching(const ExpertStats& stats);

}  // namespace cadre
