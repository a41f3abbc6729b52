#include "engine/sequence.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace cadre {

Sequence::Sequence(const Model& model, ExpertSource& experts, Device& device,
                   const SequenceConfig& config)
    : model_(&model),
      experts_(&experts),
      device_(&device),
      config_(config),
      pool_(model.config.kv_shape(config.kv_type)),
      cache_(pool_),
      activations_(model.config, Activations::Keep::kOneLayer) {}

int64_t Sequence::KeepPrefixOf(std::span<const int32_t> ids) {
  const auto end =
      ids_.begin() + std::min(std::ssize(ids_), std::max<int64_t>(std::ssize(ids) - 1, 0));
  auto kept =
      static_cast<int64_t>(std::mismatch(ids_.begin(), end, ids.begin()).first - ids_.begin());
  if (kept == std::ssize(ids_)) return kept;
  const int64_t window = model_->config.sliding_window;
  if (window > 0 && kept - window + 1 < first_kept_) kept = 0;
  cache_.Truncate(kept);
  ids_.resize(static_cast<size_t>(kept));
  if (kept == 0) first_kept_ = 0;
  return kept;
}

bool Sequence::Append(std::span<const int32_t> ids, Mat<float> logits, const RunOptions& options) {
  const int64_t count = std::ssize(ids);
  CADRE_CHECK(logits.rows == 1 || logits.rows == count);
  for (const int32_t id : ids) {
    if (id < 0 || id >= model_->config.vocab_size) {
      throw Error("token id is {} but must be from 0 to {}", id, model_->config.vocab_size - 1);
    }
  }
  const bool wants_all = logits.rows == count;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    if (options.cancelled != nullptr && *options.cancelled) return false;
    const int64_t end = std::min(begin + kChunk, count);
    const bool wants_last = !wants_all && end == count;
    const Mat<float> out = wants_all ? logits.Rows(begin, end) : logits.Rows(0, wants_last ? 1 : 0);
    AppendChunk(ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), out,
                options);
  }
  return true;
}

// logits has as many rows as are wanted: the last ones of the chunk.
void Sequence::AppendChunk(std::span<const int32_t> ids, Mat<float> logits,
                           const RunOptions& options) {
  const int64_t begin = std::ssize(ids_);
  const int64_t end = begin + std::ssize(ids);
  positions_.resize(ids.size());
  std::iota(positions_.begin(), positions_.end(), begin);
  sequence_of_row_.assign(ids.size(), 0);
  wanted_rows_.resize(static_cast<size_t>(logits.rows));
  std::iota(wanted_rows_.begin(), wanted_rows_.end(), std::ssize(ids) - logits.rows);

  cache_.Reserve(end);
  const KvSequence sequence = cache_.view();
  const Batch batch{.ids = ids,
                    .positions = positions_,
                    .sequence_of_row = sequence_of_row_,
                    .sequences = {&sequence, 1},
                    .kv_type = config_.kv_type,
                    .wanted_rows = wanted_rows_,
                    .router_limits = {}};
  const ForwardOptions forward_options{
      .activation = config_.activation, .observer = options.observer, .dropout = {}};
  Forward(*model_, *experts_, *device_, batch, forward_options, activations_, logits);
  ids_.insert(ids_.end(), ids.begin(), ids.end());

  const int64_t window = model_->config.sliding_window;
  if (window > 0 && end - window + 1 > 0) {  // the next query, at `end`, sees no key before that
    cache_.ReleaseBefore(end - window + 1);
    first_kept_ = (end - window + 1) / kKvBlock * kKvBlock;
  }
}

}  // namespace cadre
