// One sequence or several through Forward, step by step, for tests.
#pragma once

#include <numeric>
#include <vector>

#include "model/forward.h"
#include "model/kv_cache.h"

namespace cadre {

// Rows of one step: the next `count` tokens of sequence `sequence`.
struct StepPart {
  int32_t sequence;
  int64_t count;
};

// Runs sequences of token ids through the model in the steps given; keeps all logits.
class StepRunner {
 public:
  StepRunner(const Model& model, Device& device, KvType kv_type, ActivationType activation,
             std::vector<std::vector<int32_t>> sequences, ExpertSource* experts = nullptr)
      : model_(model),
        device_(device),
        resident_(model.weights),
        experts_(experts == nullptr ? &resident_ : experts),
        pool_(model.config.kv_shape(kv_type)),
        kv_type_(kv_type),
        sequences_(std::move(sequences)),
        done_(sequences_.size(), 0),
        logits_(sequences_.size()),
        activations_(model.config, Activations::Keep::kOneLayer) {
    options_.activation = activation;
    for (size_t s = 0; s < sequences_.size(); ++s) caches_.emplace_back(pool_);
  }

  void Step(const std::vector<StepPart>& parts) {
    std::vector<int32_t> ids, sequence_of_row;
    std::vector<int64_t> positions;
    for (const auto& part : parts) {
      const auto s = static_cast<size_t>(part.sequence);
      for (int64_t i = 0; i < part.count; ++i) {
        ids.push_back(sequences_[s][static_cast<size_t>(done_[s])]);
        positions.push_back(done_[s]++);
        sequence_of_row.push_back(part.sequence);
      }
      caches_[s].Reserve(done_[s]);
    }
    std::vector<KvSequence> views;
    for (const auto& cache : caches_) views.push_back(cache.view());
    std::vector<int64_t> wanted(ids.size());
    std::iota(wanted.begin(), wanted.end(), 0);
    const int64_t vocab = model_.config.vocab_size;
    std::vector<float> out(ids.size() * static_cast<size_t>(vocab));
    const Batch batch{.ids = ids,
                      .positions = positions,
                      .sequence_of_row = sequence_of_row,
                      .sequences = views,
                      .kv_type = kv_type_,
                      .wanted_rows = wanted,
                      .router_limits = {}};
    Forward(model_, *experts_, device_, batch, options_, activations_,
            {out.data(), static_cast<int64_t>(ids.size()), vocab});
    for (size_t r = 0; r < ids.size(); ++r) {
      auto& of = logits_[static_cast<size_t>(sequence_of_row[r])];
      of.insert(of.end(), out.begin() + static_cast<int64_t>(r) * vocab,
                out.begin() + static_cast<int64_t>(r + 1) * vocab);
    }
  }

  void RunAll(int32_t sequence) {
    Step({{sequence, static_cast<int64_t>(sequences_[static_cast<size_t>(sequence)].size())}});
  }

  ForwardOptions& options() { return options_; }
  // [tokens so far, vocab]
  const std::vector<float>& logits(size_t sequence) const { return logits_[sequence]; }

 private:
  const Model& model_;
  Device& device_;
  ResidentExperts resident_;
  ExpertSource* experts_;
  KvPagePool pool_;
  KvType kv_type_;
  std::vector<std::vector<int32_t>> sequences_;
  std::vector<int64_t> done_;
  std::vector<std::vector<float>> logits_;
  std::vector<KvCache> caches_;
  Activations activations_;
  ForwardOptions options_;
};

}  // namespace cadre
