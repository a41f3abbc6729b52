#include "model/forward.h"

#include "model/attention.h"
#include "model/moe.h"
#include "ops/dropout.h"

namespace cadre {
namespace {

// Moves the wanted rows of x to its front.
Mat<float> KeepRows(std::span<const int64_t> wanted, Mat<float> x) {
  const auto num_wanted = static_cast<int64_t>(wanted.size());
  if (num_wanted == x.rows) return x;
  for (int64_t r = 0; r < num_wanted; ++r) {
    const float* from = x.row(wanted[static_cast<size_t>(r)]);
    std::copy(from, from + x.cols, x.row(r));
  }
  return x.Rows(0, num_wanted);
}

// The FFN of this layer is computed for the wanted rows only.
void NarrowFfn(std::span<const int64_t> wanted, const RouterConfig& router, LayerActivations& a) {
  a.x_mid = KeepRows(wanted, a.x_mid);
  a.ffn_h = a.ffn_h.Rows(0, a.x_mid.rows);
  a.router_in = a.router_in.Rows(0, a.x_mid.rows);
  a.router_logits = a.router_logits.Rows(0, a.x_mid.rows);
  if (router.noise) {
    a.noise_raw = a.noise_raw.Rows(0, a.x_mid.rows);
    a.noise = a.noise.Rows(0, a.x_mid.rows);
  }
  a.routing.SetTokens(a.x_mid.rows, router, a.routing.experts.cols);
  a.moe_out = a.moe_out.Rows(0, a.x_mid.rows);
}

void DropResidual(const DropoutSettings& dropout, int64_t layer, DropoutSettings::Site site,
                  Device& device, Mat<float> x) {
  Dropout(x, dropout.rate, dropout.seed, dropout.Stream(layer, site), device.threads());
}

RouterLimits LimitsOf(const Batch& batch, int64_t layer, const ModelConfig& config) {
  RouterLimits limits = batch.router_limits;
  if (batch.given_experts.empty()) return limits;
  const auto count = batch.given_experts.size() / static_cast<size_t>(config.num_layers);
  limits.experts = batch.given_experts.subspan(static_cast<size_t>(layer) * count, count);
  return limits;
}

void CountRows(int64_t layer, const DispatchPlan& plan, std::span<int64_t> expert_rows) {
  if (expert_rows.empty()) return;
  const size_t num_experts = plan.expert_begin.size() - 1;
  for (size_t e = 0; e < num_experts; ++e) {
    expert_rows[static_cast<size_t>(layer) * num_experts + e] +=
        plan.expert_begin[e + 1] - plan.expert_begin[e];
  }
}

}  // namespace

void Forward(const Model& model, ExpertSource& experts, Device& device, const Batch& batch,
             const ForwardOptions& options, Activations& activations, Mat<float> logits) {
  const ModelConfig& config = model.config;
  const ModelWeights& weights = model.weights;
  activations.SetTokens(static_cast<int64_t>(batch.ids.size()),
                        batch.router_limits.MaxChoices(config.router));
  device.Embed(weights.embedding, batch.ids, activations.layer(0).x);
  DropResidual(options.dropout, 0, DropoutSettings::kEmbedding, device, activations.layer(0).x);

  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerWeights& w = weights.layers[static_cast<size_t>(layer)];
    LayerActivations& a = activations.layer(layer);
    device.RmsNorm(a.x, w.attn_norm, config.rms_norm_eps, a.attn_h);
    Attention(model, layer, device, batch, options.activation, a);
    DropResidual(options.dropout, layer, DropoutSettings::kAttention, device, a.attn_out);
    device.Add(a.x, a.attn_out, a.x_mid);

    RouterLimits limits = LimitsOf(batch, layer, config);
    const bool last = layer + 1 == config.num_layers;
    if (last && options.observer == nullptr) {  // nobody asks for the other rows' FFN any more
      NarrowFfn(batch.wanted_rows, config.router, a);
      limits.rows = batch.wanted_rows;
    }
    device.RmsNorm(a.x_mid, w.ffn_norm, config.rms_norm_eps, a.ffn_h);
    Moe(model, layer, experts, device, limits, options, a);
    if (options.observer != nullptr) (*options.observer)(layer, a.routing);
    CountRows(layer, a.plan, options.expert_rows);
    DropResidual(options.dropout, layer, DropoutSettings::kMoe, device, a.moe_out);
    device.Add(a.x_mid, a.moe_out, activations.after(layer).Rows(0, a.x_mid.rows));
  }
  const Mat<float> out =
      options.observer == nullptr
          ? activations.out().Rows(0, static_cast<int64_t>(batch.wanted_rows.size()))
          : KeepRows(batch.wanted_rows, activations.out());
  const Mat<float> final_h = activations.final_h().Rows(0, out.rows);
  device.RmsNorm(out, weights.final_norm, config.rms_norm_eps, final_h);
  device.MatMul(final_h, weights.head, options.activation, logits);
}

}  // namespace cadre
