// One sequence in the model: the ids it has seen and their keys and values. Grows by running ids
// through Forward, in chunks; shrinks to a prefix that a new text shares. Knows nothing of text or
// sampling.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "model/forward.h"
#include "model/kv_cache.h"

namespace cadre {

struct SequenceConfig {
  ActivationType activation = ActivationType::kRounded;
  KvType kv_type = KvType::kF16;
};

// The exact path: what `logits`, training and goldens use.
inline constexpr SequenceConfig kExactPath = {ActivationType::kF32, KvType::kF32};

struct RunOptions {
  const RoutingObserver* observer = nullptr;     // sees every row of every chunk
  const std::atomic<bool>* cancelled = nullptr;  // looked at between chunks
};

// Not thread-safe. Model, experts and device must outlive it.
class Sequence {
 public:
  static constexpr int64_t kChunk = 512;  // ids per Forward

  Sequence(const Model& model, ExpertSource& experts, Device& device, const SequenceConfig& config);
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  // What has been run and is still remembered.
  std::span<const int32_t> ids() const { return ids_; }
  int64_t kv_bytes() const { return pool_.bytes(); }

  // Forgets everything after the longest common beginning with `ids` (all of it where the window
  // has moved past that), but leaves at least the last of `ids` to be run. Returns how many ids are
  // kept.
  int64_t KeepPrefixOf(std::span<const int32_t> ids);

  // Runs `ids` behind what is there. logits: [1, vocab] for the last id, or [ids, vocab] for all of
  // them. Returns false when cancelled in between: some ids have been run then. Throws Error for an
  // id outside the vocabulary.
  bool Append(std::span<const int32_t> ids, Mat<float> logits, const RunOptions& options = {});

 private:
  void AppendChunk(std::span<const int32_t> ids, Mat<float> logits, const RunOptions& options);

  const Model* model_;
  ExpertSource* experts_;
  Device* device_;
  SequenceConfig config_;
  KvPagePool pool_;
  KvCache cache_;
  Activations activations_;
  std::vector<int32_t> ids_;
  int64_t first_kept_ = 0;  // keys before this position are gone
  std::vector<int64_t> positions_;
  std::vector<int32_t> sequence_of_row_;
  std::vector<int64_t> wanted_rows_;
};

}  // namespace cadre
