// A kernel of the CPU device at one shape, ready to be run again and again on one thread, with what
// one run amounts to.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/cold_memory.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/limits.h"

namespace cadre::bench {

// Part of what a run takes, of one of the machine's limits: operations, a multiplication or an
// addition each; of kStream and kCache, bytes.
struct Demand {
  LimitKind limit;
  double amount;
};

struct Work {
  std::vector<Demand> demands;  // not empty; the one that takes longest is what the kernel meets
  std::function<void()> run;
};

// Where the largest operand is read from: the second-level cache, or memory no cache holds.
enum class Source { kCache, kMemory };

struct KernelCase {
  std::string_view kernel;  // the slot's name; those of PanelKernels with "panel_" before
  std::string type;         // of weights or cache, or else what sets the kernel's path
  int64_t tokens;           // 0: not a matter of tokens
  Source source;
  std::function<Work()> prepare;  // encodes and packs; what it makes lives as long as the Work
};

// What cases are made with; outlives them.
struct Bench {
  Isa isa;
  const KernelTable& kernels;
  ColdMemory read, written;  // shared by all: a Work may use them until the next is prepared
};

inline constexpr int64_t kCols = 4096;  // of a row: the width of Mixtral 8x7B

// [count] normal deviates, always the same.
std::vector<float> Normals(int64_t count);

// `rows` rows of kCols normal deviates as `type`.
std::vector<std::byte> EncodedRows(DType type, int64_t rows);

// Appends the cases of PanelKernels: none where the instruction set has no panels.
void AddPanelCases(Bench& bench, std::vector<KernelCase>& cases);
// float_dots, byte_dots, and what turns stored rows and activations into their operands.
void AddDotCases(Bench& bench, std::vector<KernelCase>& cases);
// attend and store_kv.
void AddKvCases(Bench& bench, std::vector<KernelCase>& cases);
// What maps rows of activations to rows: rms_norm, rotate, add, swiglu, add_scaled.
void AddRowCases(Bench& bench, std::vector<KernelCase>& cases);

}  // namespace cadre::bench
