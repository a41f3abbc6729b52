#include "align/held_routing.h"

#include "base/json.h"
#include "model/forward.h"

namespace cadre {
namespace {

Model ForInference(Model model) {
  model.config.router = model.config.router.ForInference();
  return model;
}

}  // namespace

BaseRouting::BaseRouting(const Model& base, Wanted wanted, Device& device)
    : base_(ForInference(base)),
      wanted_(wanted),
      device_(device),
      experts_(base_.weights),
      activations_(base_.config, Activations::Keep::kOneLayer),
      pages_(base_.config.kv_shape(KvType::kF32)) {
  CADRE_CHECK(!base_.config.router.dense());
}

void BaseRouting::Fill(TrainingBatch& batch) {
  std::vector<KvCache> caches;
  std::vector<KvSequence> sequences;
  std::vector<int64_t> lengths(static_cast<size_t>(batch.num_sequences), 0);
  for (size_t t = 0; t < batch.ids.size(); ++t)
    lengths[static_cast<size_t>(batch.sequence_of_row[t])] = batch.positions[t] + 1;
  caches.reserve(lengths.size());
  for (const int64_t length : lengths) {
    caches.emplace_back(pages_);
    caches.back().Reserve(length);
    sequences.push_back(caches.back().view());
  }
  batch.routing.probs.clear();
  batch.routing.experts.clear();
  const RoutingObserver observer = [&](int64_t /*layer*/, const Routing& routing) {
    for (int64_t t = 0; t < routing.experts.rows; ++t) {
      const auto experts = routing.experts.row_span(t);
      const auto probs = routing.probs.row_span(t);
      if (wanted_.experts)
        batch.routing.experts.insert(batch.routing.experts.end(), experts.begin(), experts.end());
      if (wanted_.probs)
        batch.routing.probs.insert(batch.routing.probs.end(), probs.begin(), probs.end());
    }
  };
  ForwardOptions options;
  options.observer = &observer;
  const Batch step{.ids = batch.ids,
                   .positions = batch.positions,
                   .sequence_of_row = batch.sequence_of_row,
                   .sequences = sequences,
                   .kv_type = KvType::kF32,
                   .wanted_rows = {},
                   .router_limits = {}};
  Forward(base_, experts_, device_, step, options, activations_,
          Mat<float>(nullptr, 0, base_.config.vocab_size));
}

HeldTask::HeldTask(Task& task, const TuneConfig& config, const Model& base, Device& device)
    : task_(task) {
  const bool anchor = config.optimiser.anchor_coefficient > 0;
  if (!anchor && !config.replay_routing) return;
  if (base.config.router.dense()) {
    throw Error("{}: has no routers, but {} needs some", config.model,
                anchor ? "router.anchor" : "router.replay");
  }
  routing_.emplace(base, BaseRouting::Wanted{.probs = anchor, .experts = config.replay_routing},
                   device);
}

void HeldTask::FillBatches(int64_t step, std::vector<TrainingBatch>& batches) {
  task_.FillBatches(step, batches);
  if (!routing_) return;
  for (auto& batch : batches) routing_->Fill(batch);
}

}  // namespace cadre
