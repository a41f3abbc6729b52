// THE PAGE: one step of a Mixtral decoder, shared by inference and training. Never rewritten for
// speed; what it calls is. Source: Mixtral of Experts, arXiv 2401.04088; transformers
// modeling_mixtral.py.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/activations.h"
#include "model/experts.h"
#include "model/weights.h"
#include "ops/device.h"

namespace cadre {

// The rows of one step. Rows of one sequence stand in ascending positions; its pages reach past the
// last of them.
struct Batch {
  std::span<const int32_t> ids;              // [T] token ids
  std::span<const int64_t> positions;        // [T]
  std::span<const int32_t> sequence_of_row;  // [T] index into sequences
  std::span<const KvSequence> sequences;
  KvType kv_type = KvType::kF32;
  std::span<const int64_t> wanted_rows;  // [R] rows whose logits are asked for, ascending
  RouterLimits router_limits;            // per row of the step; empty: the model's own
  // [layers, T, k] the experts that rows use, as in RouterLimits; empty: routers choose.
  std::span<const int32_t> given_experts = {};
};

// Called once per layer with what the router chose, one row per row of the step.
using RoutingObserver = std::function<void(int64_t layer, const Routing& routing)>;

// Training's dropout; masks are a function of seed, step and layer (ops/dropout.h), and so are the
// router's jitter, noise and lots, which the model's RouterConfig turns on (model/router_noise.h).
struct DropoutSettings {
  float rate = 0;  // of the embedding and of what attention and MoE add to the residual stream
  float expert_rate = 0;  // of an expert's hidden activations (Switch section 2.4)
  uint64_t seed = 0;
  uint64_t step = 0;

  enum Site { kEmbedding, kAttention, kMoe, kExpert, kRouterJitter, kRouterNoise, kRouterLots };
  uint64_t Stream(int64_t layer, Site site) const {
    return (step << 16 | static_cast<uint64_t>(layer) << 4 | static_cast<uint64_t>(site)) + 1;
  }
};

struct ForwardOptions {
  ActivationType activation = ActivationType::kF32;
  const RoutingObserver* observer = nullptr;  // sees every row of every layer, wanted or not
  DropoutSettings dropout;
  std::span<int64_t> expert_rows =
      {};  // [layers, experts] gets added how many rows each expert ran
};

// Writes the wanted rows' logits ([R, vocab]) and, into the cache, the keys and values of all rows.
// Allocates nothing once `activations` has seen the largest step.
void Forward(const Model& model, ExpertSource& experts, Device& device, const Batch& batch,
             const ForwardOptions& options, Activations& activations, Mat<float> logits);

}  // namespace cadre
