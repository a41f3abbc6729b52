#include "eval/pass_at_k.h"

#include "base/error.h"

namespace cadre {

double PassAtK(int64_t n, int64_t passed, int64_t k) {
  CADRE_CHECK(1 <= k && k <= n && 0 <= passed && passed <= n);
  if (n - passed < k) return 1;
  // The product of the ratio's factors: the binomials themselves would overflow.
  double none = 1;
  for (int64_t i = n - passed + 1; i <= n; ++i)
    none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

}  // namespace cadre
