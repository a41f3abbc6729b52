// What `cadre plan` says, for people and for scripts.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cli/outlook.h"
#include "cpu/limits.h"
#include "plan/types.h"

namespace cadre {

struct PlanReport {
  std::string model;  // where it lies
  ModelConfig config;
  uint64_t file_bytes = 0;
  std::string types;  // of its matrices, "Q4_K_M" or "Q4_K and Q6_K"
  std::string device;
  Limits limits;
  int64_t available_bytes = 0;
  bool has_budget = false;  // --memory was given
  MemoryPlan memory;
  Prediction prediction;
  std::vector<TypeOutlook> others;  // in other types
};

OrderedJson ToJson(const Prediction& prediction);
OrderedJson ToJson(const PlanReport& report, const Outlook& outlook);
std::string ToText(const PlanReport& report, const Outlook& outlook);

}  // namespace cadre
