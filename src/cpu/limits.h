// What this machine can do at most, measured when asked: the yardsticks of `cadre bench` and of the
// programs in bench/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/huge_memory.h"
#include "base/thread_pool.h"
#include "cpu/isa.h"
#include "tensor/buffer.h"

namespace cadre {

struct Limits {
  double integer_gops = 0;            // 8-bit vector products and sums, all threads together
  double matrix_gops = 0;             // the same of a matrix unit; 0: there is none
  double bf16_gflops = 0;             // 0: the instruction set has no such products
  double stream_gigabytes_per_s = 0;  // reading memory that no cache holds
};

// Takes a quarter of a second for each. The memory read is as large as the last-level cache a few
// times over.
Limits MeasureLimits(Isa isa, ThreadPool& threads);

// Reading alone, for classing a moment by it.
double StreamGigabytesPerS(Isa isa, ThreadPool& threads);

enum class LimitKind {
  kInteger,  // 8-bit vector products
  kMatrix,   // 8-bit products of a matrix unit
  kFloat,    // 32-bit float vector products
  kBf16,     // 16-bit float vector products
  kStream,   // reading memory that no cache holds
  kCache,    // reading kCacheBytes again and again
};

// What any second-level cache holds.
inline constexpr int64_t kCacheBytes = int64_t{192} << 10;

std::string_view LimitName(LimitKind kind);  // "integer", "matrix", "float", ...
bool HasLimit(Isa isa, LimitKind kind);

// One limit of one thread, measured a short while at a time, so that a kernel and its limit can
// take turns.
class LimitMeter {
 public:
  // HasLimit(isa, kind). `stream_bytes`, a multiple of 64, is what kStream walks through.
  LimitMeter(Isa isa, LimitKind kind, int64_t stream_bytes);

  // On the calling thread, for `seconds` or little longer: operations (a multiplication or an
  // addition each) per second; for kStream and kCache, bytes read per second.
  double PerSecond(double seconds);

 private:
  uint64_t (*read_)(const std::byte* bytes, int64_t count) = nullptr;
  double (*operate_)(int64_t rounds) = nullptr;
  HugeMemory stream_;
  Buffer<std::byte> cached_;
  const std::byte* bytes_ = nullptr;
  int64_t num_bytes_ = 0, piece_bytes_ = 0;
  int64_t position_ = 0;  // where the next piece begins
};

}  // namespace cadre
