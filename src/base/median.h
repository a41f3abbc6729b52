#pragma once

#include <algorithm>
#include <vector>

namespace cadre {

// Of an even number the upper one of the two. values: at least one.
inline double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace cadre
