// Figures as a report's JSON has them: five significant digits, which is more than any of them
// means.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/json.h"
#include "study/bootstrap.h"
#include "study/information.h"

namespace cadre {

inline double Rounded(double value) {
  return std::strtod(fmt::format("{:.5g}", value).c_str(), nullptr);
}

template <typename Values>
OrderedJson RoundedList(const Values& values) {
  OrderedJson list = OrderedJson::array();
  for (const double value : values) list.push_back(Rounded(value));
  return list;
}

// [rows][cols]
inline OrderedJson RoundedTable(const std::vector<double>& values, int64_t cols) {
  OrderedJson table = OrderedJson::array();
  for (size_t i = 0; i < values.size(); i += static_cast<size_t>(cols)) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(i);
    table.push_back(RoundedList(std::vector<double>(begin, begin + cols)));
  }
  return table;
}

// {"NAME": value, "low": ..., "high": ...}; null where there is no interval.
inline OrderedJson WithInterval(const char* name, double value,
                                const std::optional<Interval>& interval) {
  OrderedJson json = {{name, Rounded(value)}, {"low", nullptr}, {"high", nullptr}};
  if (!interval) return json;
  json["low"] = Rounded(interval->low);
  json["high"] = Rounded(interval->high);
  return json;
}

inline OrderedJson InformationJson(const Information& information,
                                   const std::optional<NullLevel>& null = std::nullopt) {
  OrderedJson json = {{"bits", Rounded(information.corrected_bits)},
                      {"plugin_bits", Rounded(information.plugin_bits)},
                      {"samples", information.samples}};
  if (!null) return json;
  json["null_mean_bits"] = Rounded(null->mean);
  json["null_high_bits"] = Rounded(null->high);
  return json;
}

}  // namespace cadre
