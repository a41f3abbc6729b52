#include "model/attention.h"

namespace cadre {

KvBatch KvBatchOf(const Model& model, int64_t layer, const Batch& batch) {
  return {model.config.kv_shape(batch.kv_type), layer, batch.sequences, batch.sequence_of_row,
          batch.positions};
}

void Attention(const Model& model, int64_t layer, Device& device, const Batch& batch,
               ActivationType activation, LayerActivations& a) {
  const ModelConfig& config = model.config;
  const LayerWeights& w = model.weights.layers[static_cast<size_t>(layer)];
  const KvBatch kv = KvBatchOf(model, layer, batch);
  device.MatMul(a.attn_h, w.wq, activation, a.q);
  device.MatMul(a.attn_h, w.wk, activation, a.k);
  device.MatMul(a.attn_h, w.wv, activation, a.v);
  device.Rope(a.q, config.head_dim, batch.positions, model.rope_frequencies, config.rope_layout);
  device.Rope(a.k, config.head_dim, batch.positions, model.rope_frequencies, config.rope_layout);
  device.StoreKv(a.k, a.v, kv);
  device.Attention(a.q, config.num_heads, config.sliding_window, kv, a.attn, a.lse);
  device.MatMul(a.attn, w.wo, activation, a.attn_out);
}

}  // namespace cadre
