// pass@k (Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374).
#pragma once

#include <cstdint>

namespace cadre {

// The unbiased estimate of how likely at least one of k programs passes, of `n` written for one
// problem `passed` do: 1 - C(n - passed, k) / C(n, k). 1 <= k <= n, 0 <= passed <= n.
double PassAtK(int64_t n, int64_t passed, int64_t k);

}  // namespace cadre
