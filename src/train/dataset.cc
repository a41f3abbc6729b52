#include "train/dataset.h"

#include <algorithm>

#include "base/documents.h"
#include "base/error.h"

namespace cadre {
namespace {

constexpr size_t kEncodeTogether = 512;  // documents in memory as text at a time

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
  for (const auto& segment : segments_) tokens_per_epoch_ += segment.targets;
}

size_t Dataset::FillInOrder(size_t segment, int64_t batch_tokens, TrainingBatch& batch) const {
  batch.Clear();
  while (segment < segments_.size()) {
    if (!batch.ids.empty() && std::ssize(batch.ids) + SegmentTargets(segment) > batch_tokens) break;
    batch.AddSequence(Segment(segment++));
  }
  return segment;
}

}  // namespace cadre
