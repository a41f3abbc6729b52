#include "train/backward.h"

#include <cmath>
#include <cstring>

#include "model/attention.h"
#include "model/router_noise.h"
#include "ops/dropout.h"
#include "train/load_loss.h"

namespace cadre {
namespace {

Mat<const float> AsMat(const Weight& w) {
  CADRE_CHECK(w.type == DType::kF32);
  return {reinterpret_cast<const float*>(w.data), w.rows, w.cols};
}

void Zero(Mat<float> m, ThreadPool& threads) {
  if (m.empty()) return;
  threads.ParallelFor(m.rows, [&](int64_t row, int) {
    std::memset(m.row(row), 0, static_cast<size_t>(m.cols) * sizeof(float));
  });
}

void Scale(Mat<float> m, float factor) {
  for (int64_t i = 0; i < m.rows * m.cols; ++i) m.data[i] *= factor;
}

// What every matrix product's backward computes with.
struct Tools {
  Device& device;
  BackwardOps& ops;
  BackwardScratch& scratch;
  const GradientArena& gradients;
};

// What w.low_rank adds, u = x down^T and scale * u up^T.
void LowRankBackward(Mat<const float> x, const LowRank& low_rank, Mat<const float> d_out,
                     const Tools& tools, Mat<float> d_x) {
  constexpr auto kExact = ActivationType::kF32;
  const auto& [down, up, scale] = low_rank;
  const Mat<float> hidden = tools.scratch.LowRankHidden(x.rows, low_rank.rank());
  const Mat<float> d_hidden = tools.scratch.LowRankGradient(x.rows, low_rank.rank());
  tools.device.MatMul(x, down, kExact, hidden);
  Scale(hidden, scale);
  tools.ops.MatMulBackward(hidden, AsMat(up), d_out, kExact, Into::kFresh, d_hidden,
                           tools.gradients.Of(up));
  Scale(d_hidden, scale);
  tools.ops.MatMulBackward(x, AsMat(down), d_hidden, kExact, Into::kSum, d_x,
                           tools.gradients.Of(down));
}

// out = x w^T, and what w.low_rank adds: gradients of x and of what is trained.
void LinearBackward(Mat<const float> x, const Weight& w, Mat<const float> d_out,
                    ActivationType activation, const Tools& tools, Into into, Mat<float> d_x) {
  const Mat<float> d_w = tools.gradients.Of(w);
  if (d_w.empty()) {
    tools.ops.MatMulInputBackward(w, d_out, activation, into, d_x);
  } else {
    tools.ops.MatMulBackward(x, AsMat(w), d_out, activation, into, d_x, d_w);
  }
  if (w.low_rank != nullptr) LowRankBackward(x, *w.low_rank, d_out, tools, d_x);
}

// The gradient of what a branch added to the residual stream: the stream's own, through the
// branch's dropout. Valid until d_x changes.
Mat<const float> BranchGradient(const DropoutSettings& dropout, int64_t layer,
                                DropoutSettings::Site site, Device& device, BackwardScratch& s) {
  if (dropout.rate == 0) return s.d_x;
  const Mat<float> d_branch = s.DropoutGradient();
  std::memcpy(d_branch.data, s.d_x.data,
              static_cast<size_t>(s.d_x.rows * s.d_x.cols) * sizeof(float));
  Dropout(d_branch, dropout.rate, dropout.seed, dropout.Stream(layer, site), device.threads());
  return d_branch;
}

void ExpertBackward(const ExpertWeights& w, int64_t layer, int64_t e, int64_t begin, int64_t end,
                    const BackwardInput& in, Device& device, BackwardOps& ops, BackwardScratch& s,
                    const GradientArena& g) {
  LayerActivations& a = in.activations.layer(layer);
  const DropoutSettings& dropout = in.options.dropout;
  const ActivationType activation = in.options.activation;
  const Mat<float> d_act = s.d_act.Rows(begin, end);
  const Mat<float> d_gate = s.d_gate.Rows(begin, end);
  const Mat<float> d_up = s.d_up.Rows(begin, end);
  const Mat<float> d_gathered = s.d_gathered.Rows(begin, end);
  const Mat<const float> x = a.gathered.Rows(begin, end);
  const Tools tools{device, ops, s, g};
  LinearBackward(a.act.Rows(begin, end), w.w2, s.d_expert_out.Rows(begin, end), activation, tools,
                 Into::kFresh, d_act);
  Dropout(d_act, dropout.expert_rate, dropout.seed + static_cast<uint64_t>(e),
          dropout.Stream(layer, DropoutSettings::kExpert), device.threads());
  ops.SwiGluBackward(a.gate.Rows(begin, end), a.up.Rows(begin, end), d_act, d_gate, d_up);
  LinearBackward(x, w.w1, d_gate, activation, tools, Into::kFresh, d_gathered);
  LinearBackward(x, w.w3, d_up, activation, tools, Into::kSum, d_gathered);
}

// The logits are clean + draws * deviation(noise_raw): from d_logits to d_noise = d noise_raw, and
// to d_logits = d clean.
void NoiseBackward(int64_t layer, const BackwardInput& in, Device& device, BackwardScratch& s) {
  const LayerActivations& a = in.activations.layer(layer);
  for (const auto& m : {s.d_clean, s.d_noise}) Zero(m, device.threads());
  AddLoadGradient(in.router_losses, layer, a, in.model.config.router.noise_floor, s.d_logits,
                  s.d_clean, s.d_noise);
  for (int64_t t = 0; t < s.d_logits.rows; ++t) {
    for (int64_t e = 0; e < s.d_logits.cols; ++e) {
      const double d_deviation =
          static_cast<double>(s.d_noise.row(t)[e]) +
          static_cast<double>(s.d_logits.row(t)[e]) * static_cast<double>(a.noise.row(t)[e]);
      const double raw = a.noise_raw.row(t)[e];
      s.d_noise.row(t)[e] = static_cast<float>(d_deviation / (1 + std::exp(-raw)));
      s.d_logits.row(t)[e] += s.d_clean.row(t)[e];
    }
  }
}

// From d_gates and the router's losses to d_h (added) and to W_g and W_noise.
void RouterBackward(int64_t layer, const BackwardInput& in, Device& device, BackwardOps& ops,
                    BackwardScratch& s, const GradientArena& g) {
  LayerActivations& a = in.activations.layer(layer);
  const LayerWeights& w = in.model.weights.layers[static_cast<size_t>(layer)];
  const RouterConfig& router = in.model.config.router;
  AddImportanceGradient(in.router_losses, layer, a.routing, s.d_gates);
  AddGateGradient(a.routing, router.softmax, s.d_gates, s.d_logits);
  AddBalanceGradient(in.router_losses, layer, a.routing, s.d_logits);
  AddZGradient(in.router_losses, a, s.d_logits);
  AddAnchorGradient(in.router_losses, layer, a.routing, s.d_logits);
  if (router.noise) NoiseBackward(layer, in, device, s);
  const bool jitter = router.jitter > 0;
  const Mat<float> d_in = jitter ? s.d_router_in : s.d_h;
  LinearBackward(a.router_in, w.router, s.d_logits, ActivationType::kF32, {device, ops, s, g},
                 jitter ? Into::kFresh : Into::kSum, d_in);
  if (router.noise)
    LinearBackward(a.router_in, w.router_noise, s.d_noise, ActivationType::kF32,
                   {device, ops, s, g}, Into::kSum, d_in);
  if (!jitter) return;
  const DropoutSettings& draws = in.options.dropout;
  Jitter(d_in, router.jitter, draws.seed, draws.Stream(layer, DropoutSettings::kRouterJitter),
         device.threads(), d_in);
  device.Add(s.d_h, d_in, s.d_h);
}

// From d_out = d moe_out to d_h = d ffn_h.
void MoeBackward(int64_t layer, const BackwardInput& in, Mat<const float> d_out, Device& device,
                 BackwardOps& ops, BackwardScratch& s, const GradientArena& g) {
  LayerActivations& a = in.activations.layer(layer);
  const LayerWeights& w = in.model.weights.layers[static_cast<size_t>(layer)];
  const RouterConfig& router = in.model.config.router;
  const DispatchView plan = a.plan.view(a.routing.gates);
  const int64_t rows = a.plan.rows();
  Zero(s.d_logits, device.threads());
  ops.CombineRowsBackward(a.expert_out.Rows(0, rows), plan, d_out, s.d_expert_out.Rows(0, rows),
                          s.d_gates);
  for (int64_t e = 0; e < router.num_experts; ++e) {
    const int64_t begin = a.plan.expert_begin[static_cast<size_t>(e)];
    const int64_t end = a.plan.expert_begin[static_cast<size_t>(e) + 1];
    if (begin < end)
      ExpertBackward(w.experts[static_cast<size_t>(e)], layer, e, begin, end, in, device, ops, s,
                     g);
  }
  ops.GatherRowsBackward(plan, s.d_gathered.Rows(0, rows), s.d_h);
  if (router.dense()) return;
  RouterBackward(layer, in, device, ops, s, g);
}

// From d_out = d attn_out to d_h = d attn_h.
void AttentionBackward(int64_t layer, const BackwardInput& in, Mat<const float> d_out,
                       Device& device, BackwardOps& ops, BackwardScratch& s,
                       const GradientArena& g) {
  LayerActivations& a = in.activations.layer(layer);
  const LayerWeights& w = in.model.weights.layers[static_cast<size_t>(layer)];
  const ModelConfig& c = in.model.config;
  const auto& frequencies = in.model.rope_frequencies;
  const ActivationType activation = in.options.activation;
  const Tools tools{device, ops, s, g};
  LinearBackward(a.attn, w.wo, d_out, activation, tools, Into::kFresh, s.d_attn);
  ops.AttentionBackward(a.q, a.k, a.v, c.num_heads, c.sliding_window,
                        KvBatchOf(in.model, layer, in.batch), a.attn, a.lse, s.d_attn, s.d_q, s.d_k,
                        s.d_v);
  ops.RopeBackward(s.d_q, c.head_dim, in.batch.positions, frequencies, c.rope_layout);
  ops.RopeBackward(s.d_k, c.head_dim, in.batch.positions, frequencies, c.rope_layout);
  LinearBackward(a.attn_h, w.wq, s.d_q, activation, tools, Into::kFresh, s.d_h);
  LinearBackward(a.attn_h, w.wk, s.d_k, activation, tools, Into::kSum, s.d_h);
  LinearBackward(a.attn_h, w.wv, s.d_v, activation, tools, Into::kSum, s.d_h);
}

}  // namespace

void BackwardScratch::SetTokens(int64_t tokens) {
  const auto& c = config_;
  const int64_t routed = tokens * c.router.top_k;
  const struct {
    Mat<float>* mat;
    int64_t rows, cols;
  } slots[] = {
      {&d_x, tokens, c.dim},
      {&d_h, tokens, c.dim},
      {&d_q, tokens, c.q_dim()},
      {&d_k, tokens, c.kv_dim()},
      {&d_v, tokens, c.kv_dim()},
      {&d_attn, tokens, c.q_dim()},
      {&d_gathered, routed, c.dim},
      {&d_gate, routed, c.hidden_dim},
      {&d_up, routed, c.hidden_dim},
      {&d_act, routed, c.hidden_dim},
      {&d_expert_out, routed, c.dim},
      {&d_gates, tokens, c.router.top_k},
      {&d_logits, tokens, c.router.num_experts},
      {&d_router_in, c.router.jitter > 0 ? tokens : 0, c.dim},
      {&d_clean, c.router.noise ? tokens : 0, c.router.num_experts},
      {&d_noise, c.router.noise ? tokens : 0, c.router.num_experts},
  };
  buffers_.resize(std::size(slots));
  for (size_t i = 0; i < std::size(slots); ++i) {
    buffers_[i].Reserve(slots[i].rows * slots[i].cols);
    *slots[i].mat = buffers_[i].AsMat(slots[i].rows, slots[i].cols);
  }
}

void Backward(const BackwardInput& in, Device& device, BackwardOps& ops, BackwardScratch& s,
              const GradientArena& g) {
  const ModelConfig& config = in.model.config;
  const ModelWeights& weights = in.model.weights;
  const DropoutSettings& dropout = in.options.dropout;
  Activations& activations = in.activations;
  s.SetTokens(in.d_logits.rows);
  Zero(s.d_x, device.threads());
  LinearBackward(activations.final_h(), weights.head, in.d_logits, in.options.activation,
                 {device, ops, s, g}, Into::kFresh, s.d_h);
  ops.RmsNormBackward(activations.out(), weights.final_norm, config.rms_norm_eps, s.d_h, s.d_x,
                      g.Of(weights.final_norm));

  for (int64_t layer = config.num_layers; layer-- > 0;) {
    const LayerWeights& w = weights.layers[static_cast<size_t>(layer)];
    const LayerActivations& a = activations.layer(layer);
    MoeBackward(layer, in, BranchGradient(dropout, layer, DropoutSettings::kMoe, device, s), device,
                ops, s, g);
    ops.RmsNormBackward(a.x_mid, w.ffn_norm, config.rms_norm_eps, s.d_h, s.d_x, g.Of(w.ffn_norm));

    AttentionBackward(layer, in,
                      BranchGradient(dropout, layer, DropoutSettings::kAttention, device, s),
                      device, ops, s, g);
    ops.RmsNormBackward(a.x, w.attn_norm, config.rms_norm_eps, s.d_h, s.d_x, g.Of(w.attn_norm));
  }
  Dropout(s.d_x, dropout.rate, dropout.seed, dropout.Stream(0, DropoutSettings::kEmbedding),
          device.threads());
  const Mat<float> d_embedding = g.Of(weights.embedding);
  if (!d_embedding.empty()) ops.EmbedBackward(in.batch.ids, s.d_x, d_embedding);
}

}  // namespace cadre
