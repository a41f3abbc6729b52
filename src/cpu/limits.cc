#include "cpu/limits.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/clock.h"
#include "base/huge_memory.h"
#include "cpu/kernels.h"

namespace cadre {
namespace {

constexpr double kSeconds = 0.25;
constexpr int64_t kRounds = 20'000;
constexpr int64_t kStreamBytes = int64_t{512} << 20;
constexpr int64_t kPieceBytes = int64_t{1} << 20;

// Operations per second of `loop` on all threads at once.
double Peak(double (*loop)(int64_t), ThreadPool& threads) {
  std::vector<double> rates(static_cast<size_t>(threads.num_threads()));
  threads.ParallelFor(threads.num_threads(), [&](int64_t i, int) {
    double operations = 0;
    const Stopwatch watch;
    while (watch.Seconds() < kSeconds) operations += loop(kRounds);
    rates[static_cast<size_t>(i)] = operations / watch.Seconds();
  });
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
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
  const PeakLoops& loops = KernelsOf(isa).peak;
  Limits limits;
  limits.integer_gops = Peak(loops.integer, threads) * 1e-9;
  const bool has_bf16 = loops.bf16 != nullptr && __builtin_cpu_supports("avx512bf16");
  if (has_bf16) limits.bf16_gflops = Peak(loops.bf16, threads) * 1e-9;
  if (loops.matrix != nullptr) limits.matrix_gops = Peak(loops.matrix, threads) * 1e-9;
  limits.stream_gigabytes_per_s = StreamGigabytesPerS(isa, threads);
  return limits;
}

}  // namespace cadre
