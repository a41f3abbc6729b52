// The one MoE: router, plan, gather, experts, combine. Serves every router configuration and the
// dense model, on every device and weight type; those live below MatMul.
#pragma once

#include "model/forward.h"

namespace cadre {

// Reads a.ffn_h [R, d]; writes a.routing, a.plan, the routed rows' activations and a.moe_out [R,
// d]. limits: per row of ffn_h, or empty.
void Moe(const Model& model, int64_t layer, ExpertSource& experts, Device& device,
         const RouterLimits& limits, const ForwardOptions& options, LayerActivations& a);

}  // namespace cadre
