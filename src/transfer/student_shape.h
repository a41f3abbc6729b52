// What a student is: the teacher's configuration with what a run's configuration changes.
#pragma once

#include "model/config.h"
#include "transfer/transfer_config.h"

namespace cadre {

// Dense, of the teacher's vocabulary. Throws Error for a shape that student.init leaves no room
// for. Not with StudentInit::kModel.
ModelConfig StudentShape(const DistillConfig& config, const ModelConfig& teacher);

}  // namespace cadre
