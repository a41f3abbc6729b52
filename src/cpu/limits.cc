#include "cpu/limits.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "cpu/kernels.h"

namespace cadre {
namespace {

using OperationLoop = double (*)(int64_t rounds);

constexpr double kSeconds = 0.25;
constexpr int64_t kRounds = 20'000;
constexpr int64_t kStreamBytes = int64_t{512} << 20;
constexpr int64_t kPieceBytes = int64_t{1} << 20;

// Operations per second of `loop`, on the calling thread.
double PeakOfThread(OperationLoop loop, double seconds) {
  double operations = 0;
  const Stopwatch watch;
  do {
    operations += loop(kRounds);
  } while (watch.Seconds() < seconds);
  return operations / watch.Seconds();
}

// The same on all threads at once.
double Peak(OperationLoop loop, ThreadPool& threads) {
  std::vector<double> rates(static_cast<size_t>(threads.num_threads()));
  threads.ParallelFor(threads.num_threads(), [&](int64_t i, int) {
    rates[static_cast<size_t>(i)] = PeakOfThread(loop, kSeconds);
  });
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

// The loop of a kind of operations; null: the machine has none, or the kind is of bytes.
OperationLoop LoopOf(Isa isa, LimitKind kind) {
  const PeakLoops& loops = KernelsOf(isa).peak;
  switch (kind) {
    case LimitKind::kInteger:
      return loops.integer;
    case LimitKind::kMatrix:
      return loops.matrix;
    case LimitKind::kFloat:
      return loops.float32;
    case LimitKind::kBf16:
      return __builtin_cpu_supports("avx512bf16") ? loops.bf16 : nullptr;
    case LimitKind::kStream:
    case LimitKind::kCache:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

double StreamGigabytesPerS(Isa isa, ThreadPool& threads) {
  static const HugeMemory memory = [] {
    HugeMemory touched(kStreamBytes);
    std::memset(touched.data(), 1, touched.size());
    return touched;
  }();
  const auto read = KernelsOf(isa).peak.read;
  // One stream per thread: more of them would read more slowly.
  const int64_t share = kStreamBytes / threads.num_threads() / kPieceBytes * kPieceBytes;
  std::vector<uint64_t> sums(static_cast<size_t>(threads.num_threads()));
  const Stopwatch watch;
  int64_t bytes = 0;
  do {
    threads.ParallelFor(threads.num_threads(), [&](int64_t i, int) {
      sums[static_cast<size_t>(i)] += read(memory.data() + i * share, share);
    });
    bytes += share * threads.num_threads();
  } while (watch.Seconds() < kSeconds);
  const double rate = static_cast<double>(bytes) / watch.Seconds() * 1e-9;
  return sums[0] == 1 ? 0 : rate;  // the sums are looked at, so that the reading is not left out
}

Limits MeasureLimits(Isa isa, ThreadPool& threads) {
  const auto gops = [&](LimitKind kind) {
    const auto loop = LoopOf(isa, kind);
    return loop == nullptr ? 0 : Peak(loop, threads) * 1e-9;
  };
  return {.integer_gops = gops(LimitKind::kInteger),
          .matrix_gops = gops(LimitKind::kMatrix),
          .bf16_gflops = gops(LimitKind::kBf16),
          .stream_gigabytes_per_s = StreamGigabytesPerS(isa, threads)};
}

std::string_view LimitName(LimitKind kind) {
  switch (kind) {
    case LimitKind::kInteger:
      return "integer";
    case LimitKind::kMatrix:
      return "matrix";
    case LimitKind::kFloat:
      return "float";
    case LimitKind::kBf16:
      return "bf16";
    case LimitKind::kStream:
      return "stream";
    case LimitKind::kCache:
      return "cache";
  }
  CADRE_CHECK(false && "a LimitKind outside the list");
  return {};
}

bool HasLimit(Isa isa, LimitKind kind) {
  return kind == LimitKind::kStream || kind == LimitKind::kCache || LoopOf(isa, kind) != nullptr;
}

LimitMeter::LimitMeter(Isa isa, LimitKind kind, int64_t stream_bytes)
    : operate_(LoopOf(isa, kind)) {
  CADRE_CHECK(HasLimit(isa, kind) && stream_bytes > 0 && stream_bytes % 64 == 0);
  if (operate_ != nullptr) return;
  read_ = KernelsOf(isa).peak.read;
  if (kind == LimitKind::kStream) {
    stream_ = HugeMemory(static_cast<size_t>(stream_bytes));
    std::memset(stream_.data(), 1, stream_.size());
    bytes_ = stream_.data();
    num_bytes_ = stream_bytes;
  } else {
    cached_.Resize(kCacheBytes);
    bytes_ = cached_.data();
    num_bytes_ = kCacheBytes;
  }
  piece_bytes_ = std::min(num_bytes_, kPieceBytes);
}

double LimitMeter::PerSecond(double seconds) {
  if (operate_ != nullptr) return PeakOfThread(operate_, seconds);
  uint64_t sum = 0;
  int64_t count = 0;
  const Stopwatch watch;
  do {
    const int64_t piece = std::min(piece_bytes_, num_bytes_ - position_);
    sum ^= read_(bytes_ + position_, piece);
    position_ = (position_ + piece) % num_bytes_;
    count += piece;
  } while (watch.Seconds() < seconds);
  const double rate = static_cast<double>(count) / watch.Seconds();
  asm volatile("" ::"r"(sum));  // or the reading might be left out
  return rate;
}

}  // namespace cadre
