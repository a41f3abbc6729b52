// A look ahead for sources that fetch experts: the next layer's router on the present hidden state,
// which a layer changes little. Mixtral offloading, arXiv 2312.17238 section 3.2; the next layer's
// norm is applied first, as its router expects. Changes nothing that is computed.
#pragma once

#include "model/forward.h"

namespace cadre {

// After the layer's routing, when a.x_mid and a.moe_out are there but moe_out is not written yet:
// it is the scratch. Tells `experts` which experts of the next layer are likely, if it wants to
// know: of few rows by their routers, of many (which need them all) without looking.
void GuessNextLayer(const Model& model, int64_t layer, ExpertSource& experts, Device& device,
                    LayerActivations& a);

}  // namespace cadre
