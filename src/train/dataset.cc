#include "train/dataset.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "train/documents.h"

namespace cadre {
namespace {

constexpr size_t kEncodeTogether = 512;  // documents in memory as text at a time

// Streams of the run's seed; model weights take the low ones.
constexpr uint64_t kShuffleStream = uint64_t{1} << 40;

}  // namespace

Dataset::Dataset(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                 int64_t segment_tokens, ThreadPool& threads) {
  CADRE_CHECK(segment_tokens >= 1);
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> encoded;
  const auto encode = [&] {
    encoded.resize(texts.size());
    threads.ParallelFor(static_cast<int64_t>(texts.size()), [&](int64_t i, int) {
      encoded[static_cast<size_t>(i)] = tokenizer.Encode(texts[static_cast<size_t>(i)]);
    });
    for (size_t i = 0; i < texts.size(); ++i) {
      auto begin = static_cast<int64_t>(tokens_.size());
      tokens_.push_back(tokenizer.bos_id());
      tokens_.insert(tokens_.end(), encoded[i].begin(), encoded[i].end());
      tokens_.push_back(tokenizer.eos_id());
      for (const auto end = static_cast<int64_t>(tokens_.size()); begin + 1 < end;
           begin += segments_.back().targets) {
        segments_.push_back({begin, std::min(segment_tokens, end - 1 - begin)});
      }
      ++num_documents_;
      text_bytes_ += static_cast<int64_t>(texts[i].size());
    }
    texts.clear();
  };
  for (const auto& file : files) {
    ReadDocuments(file, [&](std::string text) {
      texts.push_back(std::move(text));
      if (texts.size() == kEncodeTogether) encode();
    });
  }
  encode();
  if (segments_.empty())
    throw Error("{}: holds no text to train on", files.empty() ? "data" : files.front());
  first_target_.push_back(0);
  for (const auto& segment : segments_)
    first_target_.push_back(first_target_.back() + segment.targets);
}

const std::vector<uint32_t>& Dataset::EpochOrder(int64_t epoch, uint64_t seed) const {
  if (epoch == epoch_ && seed == epoch_seed_) return order_;
  order_.resize(segments_.size());
  std::iota(order_.begin(), order_.end(), 0);
  Random random(seed, kShuffleStream + static_cast<uint64_t>(epoch));
  for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.NextBelow(i)]);
  first_target_of_shuffled_.assign(1, 0);
  for (const uint32_t s : order_) {
    first_target_of_shuffled_.push_back(first_target_of_shuffled_.back() + segments_[s].targets);
  }
  epoch_ = epoch;
  epoch_seed_ = seed;
  return order_;
}

void Dataset::FillBatch(int64_t step, int64_t batch_tokens, uint64_t seed,
                        TrainingBatch& batch) const {
  batch.Clear();
  int64_t at = step * batch_tokens;
  const int64_t end = at + batch_tokens;
  while (at < end) {
    const int64_t epoch = at / tokens_per_epoch();
    const auto& order = EpochOrder(epoch, seed);
    const auto& offsets = EpochOffsets();
    const int64_t in_epoch = at - epoch * tokens_per_epoch();
    const auto after = std::upper_bound(offsets.begin(), offsets.end(), in_epoch);
    const auto index = static_cast<size_t>(after - offsets.begin()) - 1;
    const Segment& segment = segments_[order[index]];
    const int64_t skipped = in_epoch - offsets[index];
    const int64_t count = std::min(segment.targets - skipped, end - at);
    batch.AddSequence({tokens_.data() + segment.begin + skipped, static_cast<size_t>(count) + 1});
    at += count;
  }
}

size_t Dataset::FillInOrder(size_t segment, int64_t batch_tokens, TrainingBatch& batch) const {
  batch.Clear();
  while (segment < segments_.size()) {
    const Segment& s = segments_[segment];
    if (!batch.ids.empty() && static_cast<int64_t>(batch.ids.size()) + s.targets > batch_tokens)
      break;
    batch.AddSequence({tokens_.data() + s.begin, static_cast<size_t>(s.targets) + 1});
    ++segment;
  }
  return segment;
}

}  // namespace cadre
