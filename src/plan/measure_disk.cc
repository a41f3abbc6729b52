// Reads of whole experts, in the pieces and with the depth of the store.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/error.h"
#include "base/huge_memory.h"
#include "base/random.h"
#include "plan/measure.h"
#include "store/disk_io.h"
#include "store/fitted_model.h"

namespace cadre {
namespace {

// One matrix after the other in pieces, `depth` of them under way.
class ExpertReader {
 public:
  ExpertReader(WeightFiles& files, const LoaderOptions& options, int depth)
      : files_(files),
        piece_bytes_(options.piece_bytes),
        depth_(static_cast<size_t>(depth)),
        staging_(options.piece_bytes * depth_),
        io_(MakeDiskIo(depth)) {}

  // Returns the bytes asked for.
  int64_t Read(const ExpertWeights& expert) {
    pieces_.clear();
    for (const Weight* w : {&expert.w1, &expert.w2, &expert.w3}) Cut(*w);
    int64_t bytes = 0;
    size_t next = 0, under_way = 0;
    std::vector<uint64_t> free(depth_);
    for (size_t i = 0; i < depth_; ++i) free[i] = i;
    std::vector<DiskResult> results(depth_);
    while (next < pieces_.size() || under_way > 0) {
      for (; next < pieces_.size() && !free.empty(); ++next, ++under_way) {
        Submit(pieces_[next], free.back());
        bytes += static_cast<int64_t>(pieces_[next].bytes);
        free.pop_back();
      }
      const size_t count = io_->Wait(results);
      for (size_t i = 0; i < count; ++i, --under_way) {
        Check(results[i], pieces_[next - 1]);
        free.push_back(results[i].tag);
      }
    }
    return bytes;
  }

 private:
  struct Piece {
    int file = 0;
    uint64_t offset = 0;
    size_t bytes = 0;
  };

  // Whole blocks, as direct reads want them.
  void Cut(const Weight& w) {
    const auto place = files_.Find(w.data);
    CADRE_CHECK(place.has_value());
    constexpr uint64_t kBlock = WeightFiles::kDirectAlignment;
    const uint64_t end =
        (place->offset + static_cast<uint64_t>(w.bytes()) + kBlock - 1) / kBlock * kBlock;
    for (uint64_t at = place->offset / kBlock * kBlock; at < end; at += piece_bytes_)
      pieces_.push_back({place->file, at, std::min<size_t>(piece_bytes_, end - at)});
  }

  void Submit(const Piece& piece, uint64_t slot) {
    io_->Submit({.fd = files_.fd(piece.file),
                 .offset = piece.offset,
                 .to = staging_.data() + slot * piece_bytes_,
                 .bytes = piece.bytes,
                 .tag = slot});
  }

  void Check(const DiskResult& result, const Piece& near) {
    if (result.bytes > 0) return;
    if (result.bytes == -EINVAL && files_.is_direct(near.file)) {  // not on this file system
      files_.UseBuffered(near.file);
      return;
    }
    if (result.bytes == -EINTR || result.bytes == -EAGAIN) return;
    throw Error(
        "{}: cannot be read near byte {}: {}", files_.name(near.file), near.offset,
        result.bytes == 0 ? "it ends there" : std::strerror(static_cast<int>(-result.bytes)));
  }

  WeightFiles& files_;
  size_t piece_bytes_, depth_;
  HugeMemory staging_;
  std::vector<Piece> pieces_;
  std::unique_ptr<DiskIo> io_;  // after staging_: what is under way ends before that goes
};

double BytesPerSecond(const Model& model, WeightFiles& files, int depth, double seconds) {
  ExpertReader reader(files, ReadingOf(model.weights), depth);
  Random random(static_cast<uint64_t>(depth));
  const auto some = [&]() -> const ExpertWeights& {
    const auto& layers = model.weights.layers;
    const auto& experts = layers[random.NextBelow(layers.size())].experts;
    return experts[random.NextBelow(experts.size())];
  };
  reader.Read(some());  // begins slowly, and finds out whether direct reads are allowed
  const Stopwatch watch;
  int64_t bytes = 0;
  do {
    bytes += reader.Read(some());
  } while (watch.Seconds() < seconds);
  return static_cast<double>(bytes) / watch.Seconds();
}

}  // namespace

DiskSpeed MeasureDisk(const Model& model, WeightFiles& files, double seconds) {
  return {.needed = BytesPerSecond(model, files, ReadingOf(model.weights).depth, seconds),
          .guessed = BytesPerSecond(model, files, Loader::kOthersDepth, seconds / 2)};
}

}  // namespace cadre
