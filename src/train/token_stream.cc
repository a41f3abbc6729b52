#include "train/token_stream.h"

#include <algorithm>

#include "train/batch_packer.h"

namespace cadre {
namespace {

// Streams of the run's seed; model weights take the low ones.
constexpr uint64_t kShuffleStream = uint64_t{1} << 40;

// Segments are drawn, tokens are meant: a source of short segments is drawn more often.
std::vector<Mixture::Source> MixtureSources(const std::vector<TokenStream::Source>& sources) {
  std::vector<Mixture::Source> mixed;
  for (const auto& source : sources) {
    const auto segments = static_cast<double>(source.data->num_segments());
    const auto tokens = static_cast<double>(source.data->tokens_per_epoch());
    const double share = source.weight > 0 ? source.weight : tokens;
    mixed.push_back({static_cast<int64_t>(source.data->num_segments()), share * segments / tokens});
  }
  return mixed;
}

}  // namespace

TokenStream::TokenStream(std::vector<Source> sources, int64_t batch_tokens, uint64_t seed)
    : sources_(std::move(sources)),
      batch_tokens_(batch_tokens),
      mixture_(MixtureSources(sources_), seed, kShuffleStream),
      tokens_of_(sources_.size()) {}

void TokenStream::Restart() {
  mixture_.Restart();
  rest_.reset();
  next_step_ = 0;
  tokens_of_.assign(sources_.size(), 0);
}

TokenStream::Piece TokenStream::NextPiece(int64_t most_targets) {
  Piece piece;
  if (rest_) {
    piece = *rest_;
    rest_.reset();
  } else {
    const Mixture::Draw draw = mixture_.Next();
    piece = {draw.source, draw.sample, 0, sources_[draw.source].data->SegmentTargets(draw.sample)};
  }
  if (piece.targets > most_targets) {
    rest_ = {piece.source, piece.segment, piece.begin + most_targets, piece.targets - most_targets};
    piece.targets = most_targets;
  }
  tokens_of_[piece.source] += piece.targets;
  return piece;
}

void TokenStream::FillBatches(int64_t step, int64_t micro_tokens,
                              std::vector<TrainingBatch>& batches) {
  if (step < next_step_) Restart();
  BatchPacker packer(batches, micro_tokens);
  for (; next_step_ <= step; ++next_step_) {
    for (int64_t left = batch_tokens_; left > 0;) {
      const Piece piece = NextPiece(left);
      left -= piece.targets;
      if (next_step_ < step) continue;
      const auto tokens = sources_[piece.source].data->Segment(piece.segment);
      packer.WithRoom(piece.targets)
          .AddSequence(tokens.subspan(static_cast<size_t>(piece.begin),
                                      static_cast<size_t>(piece.targets) + 1));
    }
  }
  packer.Finish();
}

}  // namespace cadre
