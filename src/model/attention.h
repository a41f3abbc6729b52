// Grouped-query attention of one layer, from the normalised residual stream to what is added to it.
#pragma once

#include "model/forward.h"

namespace cadre {

// Reads a.attn_h [T, d]; writes a.q, a.k, a.v, a.attn, a.attn_out [T, d] and the cache.
void Attention(const Model& model, int64_t layer, Device& device, const Batch& batch,
               ActivationType activation, LayerActivations& a);

// What the operations need to know of the cache in this layer.
KvBatch KvBatchOf(const Model& model, int64_t layer, const Batch& batch);

}  // namespace cadre
