// All of a layer but its products, measured: the page itself runs, on a device that leaves products
// out. No weight is touched but norms.
#pragma once

#include "plan/measure.h"

namespace cadre {

LayerRest MeasureRest(const Model& model, const RunShape& run, const MeasureOptions& options,
                      Device& device);

}  // namespace cadre
