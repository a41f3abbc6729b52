// From logits to log-probabilities, in double precision and one fixed order.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace cadre {

// ln of the sum of exponentials.
inline double LogSum(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return max + std::log(sum);
}

}  // namespace cadre
