#include "model/moe.h"

#include "model/guess.h"
#include "model/router_noise.h"
#include "ops/dropout.h"

namespace cadre {
namespace {

void RouterLogits(const Model& model, int64_t layer, Device& device, const DropoutSettings& draws,
                  LayerActivations& a) {
  const RouterConfig& config = model.config.router;
  const LayerWeights& w = model.weights.layers[static_cast<size_t>(layer)];
  if (config.jitter > 0) {
    Jitter(a.ffn_h, config.jitter, draws.seed, draws.Stream(layer, DropoutSettings::kRouterJitter),
           device.threads(), a.router_in);
  }
  device.MatMul(a.router_in, w.router, ActivationType::kF32, a.router_logits);
  if (config.noise) {
    device.MatMul(a.router_in, w.router_noise, ActivationType::kF32, a.noise_raw);
    AddRouterNoise(a.noise_raw, config.noise_floor, draws.seed,
                   draws.Stream(layer, DropoutSettings::kRouterNoise), a.noise, a.router_logits);
  }
}

void Route(const Model& model, int64_t layer, ExpertSource& experts, Device& device,
           const RouterLimits& limits, const DropoutSettings& draws, LayerActivations& a) {
  const RouterConfig& config = model.config.router;
  if (config.dense()) {
    for (int64_t t = 0; t < a.ffn_h.rows; ++t) a.router_logits.row(t)[0] = 0;
  } else {
    RouterLogits(model, layer, device, draws, a);
  }
  ChooseExperts(a.router_logits, config, limits, a.routing);
  experts.Settle(layer, config, a.routing);
  if (config.second_by_lot) {
    a.lots.resize(static_cast<size_t>(a.ffn_h.rows));
    DrawLots(draws.seed, draws.Stream(layer, DropoutSettings::kRouterLots), a.lots);
  }
  PlanDispatch(a.routing, config, a.plan, a.lots);
}

// Runs one expert on its block of routed rows [begin, end).
void ExpertFfn(const ExpertWeights& w, int64_t begin, int64_t end, Device& device,
               ActivationType activation, LayerActivations& a) {
  const auto x = a.gathered.Rows(begin, end);
  device.MatMul(x, w.w1, activation, a.gate.Rows(begin, end));
  device.MatMul(x, w.w3, activation, a.up.Rows(begin, end));
  device.SwiGlu(a.gate.Rows(begin, end), a.up.Rows(begin, end), a.act.Rows(begin, end));
}

}  // namespace

void Moe(const Model& model, int64_t layer, ExpertSource& experts, Device& device,
         const RouterLimits& limits, const ForwardOptions& options, LayerActivations& a) {
  Route(model, layer, experts, device, limits, options.dropout, a);
  experts.Plan(layer, a.plan.active);
  GuessNextLayer(model, layer, experts, device, a);
  const int64_t rows = a.plan.rows();
  const DispatchView plan = a.plan.view(a.routing.gates);
  device.GatherRows(a.ffn_h, plan, a.gathered.Rows(0, rows));
  for (const int32_t e : a.plan.active) {
    const int64_t begin = a.plan.expert_begin[static_cast<size_t>(e)];
    const int64_t end = a.plan.expert_begin[static_cast<size_t>(e) + 1];
    const ExpertWeights& w = experts.Acquire(layer, e);
    ExpertFfn(w, begin, end, device, options.activation, a);
    const DropoutSettings& dropout = options.dropout;
    if (dropout.expert_rate > 0) {
      Dropout(a.act.Rows(begin, end), dropout.expert_rate, dropout.seed + static_cast<uint64_t>(e),
              dropout.Stream(layer, DropoutSettings::kExpert), device.threads());
    }
    device.MatMul(a.act.Rows(begin, end), w.w2, options.activation, a.expert_out.Rows(begin, end));
    experts.Release(layer, e);
  }
  device.CombineRows(a.expert_out.Rows(0, rows), plan, a.moe_out);
}

}  // namespace cadre
