#include <algorithm>
#include <memory>

#include "bench/kernel_case.h"
#include "tensor/buffer.h"

namespace cadre::bench {
namespace {

// Products are cut as cpu/matmul.cc cuts them: panel by panel for few tokens, some columns of some
// panels at a time for many.
constexpr int64_t kPanels = 4;
constexpr int64_t kManyTokens = 48;
constexpr int64_t kPassCols = 1024;

constexpr int64_t kTokens[] = {1, 2, 4, 8, 12, 16, 32, 128};
constexpr int64_t kMatrixTokens = 16;  // as many as fill a tile of a matrix unit

double Product(int64_t panels, int64_t tokens) {
  return 2.0 * static_cast<double>(panels * kPanelRows * kCols * tokens);
}

Buffer<std::byte> PackedPanels(const PanelKernels& kernels, DType type, int64_t count) {
  const std::vector<std::byte> rows = EncodedRows(type, kPanelRows);
  const int64_t bytes = PanelBytes(type, kCols);
  Buffer<std::byte> panels(count * bytes);
  for (int64_t i = 0; i < count; ++i)
    kernels.pack({type, rows.data(), RowBytes(type, kCols), kPanelRows, kCols},
                 panels.data() + i * bytes);
  return panels;
}

// Tokens, rounded, and their sums with kPanels panels.
class PanelProduct {
 public:
  PanelProduct(const PanelKernels& kernels, DType type, int64_t num_tokens)
      : kernels_(kernels),
        type_(type),
        rounded_(num_tokens * TileBytes(type, 1, kCols)),
        tiles_{rounded_.data(), num_tokens,
               (num_tokens + kernels.tile_tokens - 1) / kernels.tile_tokens,
               TileBytes(type, 1, kCols)},
        sums_(kPanels * kPanelRows * num_tokens) {
    const std::vector<float> x = Normals(num_tokens * kCols);
    for (int64_t i = 0; i < tiles_.count; ++i) {
      const int64_t begin = TileBegin(tiles_, i);
      kernels.round(
          {type, x.data() + begin * kCols, kCols, TileBegin(tiles_, i + 1) - begin, kCols},
          rounded_.data() + TileOffset(type, tiles_, i, 0));
    }
  }

  // With `count` <= kPanels panels, one after another.
  void Run(const std::byte* panels, int64_t count) {
    const PanelRecord record = PanelRecordOf(type_);
    const int64_t records = PanelRecords(type_, kCols);
    const int64_t pass = count == 1 ? records : std::max<int64_t>(1, kPassCols / record.cols);
    for (int64_t r = 0; r < records; r += pass) {
      kernels_.dots({.type = type_,
                     .panels = panels + r * record.bytes,
                     .num_panels = count,
                     .panel_bytes = PanelBytes(type_, kCols),
                     .first_record = r,
                     .records = std::min(pass, records - r),
                     .tiles = tiles_,
                     .sums = sums_.data()});
    }
  }

 private:
  const PanelKernels& kernels_;
  DType type_;
  Buffer<std::byte> rounded_;
  Tiles tiles_;
  Buffer<float> sums_;
};

Work CachedDots(const PanelKernels& kernels, DType type, int64_t tokens, LimitKind limit) {
  auto panels = std::make_shared<Buffer<std::byte>>(PackedPanels(kernels, type, kPanels));
  auto product = std::make_shared<PanelProduct>(kernels, type, tokens);
  const int64_t panels_at_once = tokens < kManyTokens ? 1 : kPanels;
  return {{{limit, Product(kPanels, tokens)}}, [=] {
            for (int64_t p = 0; p < kPanels; p += panels_at_once)
              product->Run(panels->data() + p * PanelBytes(type, kCols), panels_at_once);
          }};
}

// As a token is generated: the weights stream by once.
Work StreamedDots(Bench& bench, DType type, LimitKind limit) {
  const PanelKernels& kernels = *bench.kernels.panels;
  bench.read.Fill(PackedPanels(kernels, type, 1).span());
  auto product = std::make_shared<PanelProduct>(kernels, type, 1);
  return {{{LimitKind::kStream, static_cast<double>(kPanels * PanelBytes(type, kCols))},
           {limit, Product(kPanels, 1)}},
          [&memory = bench.read, product] {
            for (int64_t p = 0; p < kPanels; ++p) product->Run(memory.Next(), 1);
          }};
}

// Bytes read and bytes written.
Work Pack(Bench& bench, DType type) {
  const std::vector<std::byte> rows = EncodedRows(type, kPanelRows);
  bench.read.Fill(rows);
  bench.written.FillZeros(PanelBytes(type, kCols));
  return {{{LimitKind::kStream, static_cast<double>(std::ssize(rows) + PanelBytes(type, kCols))}},
          [&bench, type] {
            bench.kernels.panels->pack(
                {type, bench.read.Next(), RowBytes(type, kCols), kPanelRows, kCols},
                bench.written.Next());
          }};
}

// A full tile; bytes read and bytes written.
Work Round(const PanelKernels& kernels, DType type) {
  const int64_t tokens = kernels.tile_tokens;
  auto x = std::make_shared<std::vector<float>>(Normals(tokens * kCols));
  auto tile = std::make_shared<Buffer<std::byte>>(TileBytes(type, tokens, kCols));
  return {{{LimitKind::kCache, static_cast<double>(4 * std::ssize(*x) + tile->size())}},
          [&kernels, type, tokens, x, tile] {
            kernels.round({type, x->data(), kCols, tokens, kCols}, tile->data());
          }};
}

// The unit that products with weights of a type run on, where the machine has it.
LimitKind UnitOf(Isa isa, DType type) {
  if (IsQuantised(type)) return LimitKind::kInteger;
  const bool bf16 = type == DType::kBF16 && HasLimit(isa, LimitKind::kBf16);
  return bf16 ? LimitKind::kBf16 : LimitKind::kFloat;
}

}  // namespace

void AddPanelCases(Bench& bench, std::vector<KernelCase>& cases) {
  if (bench.kernels.panels == nullptr) return;
  const PanelKernels& kernels = *bench.kernels.panels;
  for (const DTypeInfo& info : AllDTypes()) {
    const DType type = info.type;
    if (PanelRecordOf(type).cols == 0 || (!IsQuantised(type) && !kernels.halves)) continue;
    const std::string name(info.name);
    const LimitKind unit = UnitOf(bench.isa, type);
    const bool on_matrix_unit =
        unit == LimitKind::kInteger && HasLimit(bench.isa, LimitKind::kMatrix);
    for (const int64_t tokens : kTokens) {
      cases.push_back({"panel_dots", name, tokens, Source::kCache,
                       [=, &kernels] { return CachedDots(kernels, type, tokens, unit); }});
      if (!on_matrix_unit || tokens < kMatrixTokens) continue;
      cases.push_back({"panel_dots", name, tokens, Source::kCache, [=, &kernels] {
                         return CachedDots(kernels, type, tokens, LimitKind::kMatrix);
                       }});
    }
    cases.push_back({"panel_dots", name, 1, Source::kMemory,
                     [=, &bench] { return StreamedDots(bench, type, unit); }});
    cases.push_back(
        {"panel_pack", name, 0, Source::kMemory, [=, &bench] { return Pack(bench, type); }});
    cases.push_back({"panel_round", name, kernels.tile_tokens, Source::kCache,
                     [=, &kernels] { return Round(kernels, type); }});
  }
}

}  // namespace cadre::bench
