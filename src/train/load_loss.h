// How evenly a noisy router spreads its tokens, as something with a slope: the squared coefficient
// of variation, and the smooth load (how likely each expert is to be chosen if its own noise were
// drawn again). Source: arXiv 1701.06538 section 4 and appendix A; tensor2tensor expert_utils.
#pragma once

#include <span>

#include "train/losses.h"

namespace cadre {

// Population variance over squared mean (plus 1e-10); 0 for a single value. `gradient`, as long as
// `values`, gets d CV^2 / d value. (Codes that divide by n - 1 get n / (n - 1) as much.)
double SquaredVariation(std::span<const double> values, std::span<double> gradient);

// load[e] += P(token t chooses e) over the rows that count. Where all experts are chosen anyway
// that is the count of rows.
void AddSmoothLoad(const LayerActivations& a, float noise_floor, const RouterLosses& losses,
                   std::span<double> load);

// The gradient of the load loss with respect to the noisy logits (the thresholds), the clean ones
// and the noise's deviation, each [T, E] and added to.
void AddLoadGradient(const RouterLosses& losses, int64_t layer, const LayerActivations& a,
                     float noise_floor, Mat<float> d_noisy, Mat<float> d_clean,
                     Mat<float> d_deviation);

}  // namespace cadre
