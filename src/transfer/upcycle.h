// A dense model goes on as a sparse one, each expert begun as a copy of its FFN.
// Source: Sparse Upcycling, arXiv 2212.05055.
#pragma once

#include "ops/backward.h"
#include "train/run.h"
#include "transfer/transfer_config.h"
#include "transfer/transfer_report.h"

namespace cadre {

// Starts from config.model (a path), or goes on, towards what comes next in the text. Leaves in
// options.out what Run leaves of the sparse model, the same of the dense one in baseline/ when that
// is trained too, and report.json: the dense model as it was, the sparse one, and the baseline on
// the text kept back. Throws Error for bad data, and for a model that is not dense.
TransferOutcome Upcycle(const UpcycleConfig& config, const RunControl& options, Device& device,
                        BackwardOps& ops);

}  // namespace cadre
