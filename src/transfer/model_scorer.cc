#include "transfer/model_scorer.h"

#include <numeric>

namespace cadre {
namespace {

Model ForInference(Model model) {
  model.config.router = model.config.router.ForInference();
  return model;
}

}  // namespace

ModelScorer::ModelScorer(const Model& model, Device& device, ActivationType activation)
    : model_(ForInference(model)),
      device_(device),
      experts_(model_.weights),
      activations_(model_.config, Activations::Keep::kOneLayer),
      pages_(model_.config.kv_shape(KvType::kF32)) {
  options_.activation = activation;
}

Mat<float> ModelScorer::Logits(const TrainingBatch& batch, const RoutingObserver* observer) {
  std::vector<int64_t> lengths(static_cast<size_t>(batch.num_sequences), 0);
  for (size_t t = 0; t < batch.ids.size(); ++t)
    lengths[static_cast<size_t>(batch.sequence_of_row[t])] = batch.positions[t] + 1;
  std::vector<KvCache> caches;
  std::vector<KvSequence> sequences;
  caches.reserve(lengths.size());
  for (const int64_t length : lengths) {
    caches.emplace_back(pages_).Reserve(length);
    sequences.push_back(caches.back().view());
  }
  all_rows_.resize(batch.ids.size());
  std::iota(all_rows_.begin(), all_rows_.end(), 0);
  const Batch rows{.ids = batch.ids,
                   .positions = batch.positions,
                   .sequence_of_row = batch.sequence_of_row,
                   .sequences = sequences,
                   .kv_type = KvType::kF32,
                   .wanted_rows = all_rows_,
                   .router_limits = {}};
  const auto num_tokens = static_cast<int64_t>(batch.ids.size());
  logits_.Reserve(num_tokens * model_.config.vocab_size);
  const Mat<float> logits = logits_.AsMat(num_tokens, model_.config.vocab_size);
  options_.observer = observer;
  Forward(model_, experts_, device_, rows, options_, activations_, logits);
  return logits;
}

}  // namespace cadre
