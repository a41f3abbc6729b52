// A dense student learns from a teacher, sparse or not.
#pragma once

#include "ops/backward.h"
#include "train/run.h"
#include "transfer/transfer_config.h"
#include "transfer/transfer_report.h"

namespace cadre {

// Starts from config.teacher (a path), or goes on. Leaves in options.out what Run leaves of the
// student, the same of a baseline in baseline/ when there is one, and report.json: teacher, student
// and baseline on the text kept back, and the part of the gain that is retained. Throws Error for
// bad data, and for a student of another vocabulary than its teacher's.
TransferOutcome Distill(const DistillConfig& config, const RunControl& options, Device& device,
                        BackwardOps& ops);

}  // namespace cadre
