#include "cpu/matmul.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tensor/float16.h"

namespace cadre {
namespace {

constexpr int64_t kCellRows = 16;   // outputs of one task: a cache line of a result row
constexpr int64_t kBlockRows = 16;  // weight rows unpacked at a time, where many tokens use them,
constexpr int64_t kFewTokensBlockRows =
    4;  // and where few do: then they stay in the first-level cache
constexpr int64_t kManyTokens = 16;
constexpr int64_t kMinCellTokens = 8;
constexpr int64_t kCellsPerThread = 4;

// Panels. Few tokens: one panel at a time, so that the weights stream by once. Many: a few panels
// and columns at a time, so that they stay in the second-level cache while all tokens pass.
constexpr int64_t kManyTokensOfPanels = 13;
constexpr int64_t kPanelsPerTask = 4;
constexpr int64_t kColsPerPass = 1024;
constexpr int64_t kMaxTokensPerPass = 512;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The sums of one token with some panels, `stride` floats from panel to panel, to its row of the
// output. All panels of a token before the next one: the rows of the output lie pages apart.
void CopySums(const float* sums, int64_t stride, int64_t rows, float* out) {
  for (; rows >= kPanelRows; rows -= kPanelRows, sums += stride, out += kPanelRows)
    std::memcpy(out, sums, kPanelRows * sizeof(float));
  std::copy_n(sums, rows, out);
}

int64_t BlockRows(int64_t tokens) {
  return tokens < kManyTokens ? kFewTokensBlockRows : kBlockRows;
}

}  // namespace

ByteRows ByteRowsBuffer::Reserve(int64_t rows, int64_t cols) {
  const int64_t stride = CeilDiv(cols, 64) * 64;
  const int64_t offset_stride = CeilDiv(stride / 16, 16) * 16;
  values_.Reserve(rows * stride);
  scales_.Reserve(rows * (stride / 4));
  offsets_.Reserve(rows * offset_stride);
  return {values_.data(), scales_.data(), offsets_.data(), stride, offset_stride};
}

// Cuts outputs into blocks, and tokens too where there would be too few tasks for the threads.
template <typename RunCell>
void MatMulRunner::ForCells(int64_t num_rows, int64_t num_tokens, const RunCell& run_cell) {
  const int64_t row_cells = CeilDiv(num_rows, kCellRows);
  const int64_t wanted_splits = CeilDiv(kCellsPerThread * threads_.num_threads(), row_cells);
  const int64_t cell_tokens = std::max(kMinCellTokens, CeilDiv(num_tokens, wanted_splits));
  const int64_t token_cells = CeilDiv(num_tokens, cell_tokens);
  threads_.ParallelFor(row_cells * token_cells, [&](int64_t i, int thread) {
    const int64_t row = i / token_cells * kCellRows;
    const int64_t token = i % token_cells * cell_tokens;
    run_cell(Cell{row, std::min(kCellRows, num_rows - row), token,
                  std::min(cell_tokens, num_tokens - token)},
             thread);
  });
}

void MatMulRunner::Run(Mat<const float> x, const Weight& w, ActivationType activation,
                       Mat<float> out) {
  CADRE_CHECK(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  if (out.empty()) return;
  if (activation == ActivationType::kBF16 && w.type == DType::kF32) {
    return Run(x, RoundToBF16(w), ActivationType::kRounded, out);
  }
  const bool rounded = activation != ActivationType::kF32;
  if (rounded && kernels_.panels == nullptr && IsQuantised(w.type)) return RunBytes(x, w, out);
  if (rounded && HasPanels(w.type)) {
    for (int64_t begin = 0; begin < x.rows; begin += kMaxTokensPerPass) {
      const int64_t end = std::min(begin + kMaxTokensPerPass, x.rows);
      RunPanels(x.Rows(begin, end), w, out.Rows(begin, end));
    }
  } else if (rounded && w.type == DType::kBF16) {
    RunFloat(RoundToBF16(x), w, out);
  } else {
    RunFloat(x, w, out);
  }
}

bool MatMulRunner::HasPanels(DType type) const {
  return kernels_.panels != nullptr && PanelRecordOf(type).cols > 0 &&
         (IsQuantised(type) || kernels_.panels->halves);
}

Mat<const float> MatMulRunner::RoundToBF16(Mat<const float> x) {
  rounded_.Reserve(x.rows * x.cols);
  Mat<float> rounded = {rounded_.data(), x.rows, x.cols, x.cols};
  threads_.ParallelFor(
      x.rows, [&](int64_t t, int) { kernels_.round_bf16(x.row(t), x.cols, rounded.row(t)); });
  return rounded;
}

Weight MatMulRunner::RoundToBF16(const Weight& w) {
  halves_.Reserve(w.rows * w.cols);
  threads_.ParallelFor(w.rows, [&](int64_t row, int) {
    const auto* from = reinterpret_cast<const float*>(w.row(row));
    std::transform(from, from + w.cols, halves_.data() + row * w.cols, ToBF16);
  });
  Weight rounded = {reinterpret_cast<const std::byte*>(halves_.data()), DType::kBF16, w.rows,
                    w.cols};
  if (!HasPanels(DType::kBF16)) return rounded;
  half_panels_.Reserve(PackedBytes(rounded));
  Pack(rounded, half_panels_.data());
  rounded.packed = half_panels_.data();
  return rounded;
}

void MatMulRunner::RunFloat(Mat<const float> x, const Weight& w, Mat<float> out) {
  const bool in_place = w.type == DType::kF32;
  if (!in_place) decoded_.Reserve(threads_.num_threads() * kBlockRows * w.cols);
  const ByteRows unpacked = unpacked_.Reserve(threads_.num_threads(), w.cols);
  ForCells(w.rows, x.rows, [&](const Cell& cell, int thread) {
    float* decoded = in_place ? nullptr : decoded_.data() + thread * kBlockRows * w.cols;
    const int64_t block_rows = BlockRows(cell.tokens);
    for (int64_t row = cell.row; row < cell.row + cell.rows; row += block_rows) {
      const int64_t rows = std::min(block_rows, cell.row + cell.rows - row);
      for (int64_t r = 0; r < rows && !in_place; ++r) {
        kernels_.decode_row(w.type, w.row(row + r), w.cols, FromRow(unpacked, thread),
                            decoded + r * w.cols);
      }
      kernels_.float_dots(
          {.weights = in_place ? w.row(row) : reinterpret_cast<const std::byte*>(decoded),
           .row_bytes = 4 * w.cols,
           .x = x.row(cell.token),
           .x_stride = x.stride,
           .rows = rows,
           .tokens = cell.tokens,
           .cols = w.cols,
           .out = out.row(cell.token) + row,
           .out_stride = out.stride});
    }
  });
}

void MatMulRunner::RunBytes(Mat<const float> x, const Weight& w, Mat<float> out) {
  const ByteRows tokens = tokens_.Reserve(x.rows, x.cols);
  const ByteRows unpacked = unpacked_.Reserve(threads_.num_threads() * kBlockRows, w.cols);
  const int64_t group = ActivationGroup(w.type);
  threads_.ParallelFor(
      x.rows, [&](int64_t t, int) { kernels_.rows->round(x.row(t), x.cols, group, tokens, t); });
  ForCells(w.rows, x.rows, [&](const Cell& cell, int thread) {
    const ByteRows block = FromRow(unpacked, thread * kBlockRows);
    const int64_t block_rows = BlockRows(cell.tokens);
    for (int64_t row = cell.row; row < cell.row + cell.rows; row += block_rows) {
      const int64_t rows = std::min(block_rows, cell.row + cell.rows - row);
      for (int64_t r = 0; r < rows; ++r)
        kernels_.rows->unpack(w.type, w.row(row + r), w.cols, block, r);
      kernels_.rows->dots({.weights = block,
                           .has_offsets = (kTypesWithOffsets >> static_cast<int>(w.type) & 1) != 0,
                           .x = FromRow(tokens, cell.token),
                           .rows = rows,
                           .tokens = cell.tokens,
                           .out = out.row(cell.token) + row,
                           .out_stride = out.stride});
    }
  });
}

PanelSource MatMulRunner::PanelOf(const Weight& w, int64_t panel) const {
  const int64_t row = panel * kPanelRows;
  return {.type = w.type,
          .rows_begin = w.row(row),
          .row_bytes = w.row_bytes(),
          .rows = std::min(kPanelRows, w.rows - row),
          .cols = w.cols};
}

int64_t MatMulRunner::PackedBytes(const Weight& w) const {
  if (!HasPanels(w.type)) return 0;
  return CeilDiv(w.rows, kPanelRows) * PanelBytes(w.type, w.cols);
}

void MatMulRunner::Pack(const Weight& w, std::byte* packed) {
  const int64_t panel_bytes = PanelBytes(w.type, w.cols);
  threads_.ParallelFor(CeilDiv(w.rows, kPanelRows), [&](int64_t panel, int) {
    kernels_.panels->pack(PanelOf(w, panel), packed + panel * panel_bytes);
  });
}

// How tokens and panels of one product are cut.
struct MatMulRunner::PanelPlan {
  PanelPlan(int64_t num_tokens, int64_t tile_tokens, const Weight& w)
      : tiles{nullptr, num_tokens, CeilDiv(num_tokens, tile_tokens), TileBytes(w.type, 1, w.cols)},
        num_panels(CeilDiv(w.rows, kPanelRows)),
        panel_bytes(PanelBytes(w.type, w.cols)),
        record(PanelRecordOf(w.type)),
        num_records(PanelRecords(w.type, w.cols)),
        many(num_tokens >= kManyTokensOfPanels),
        task_panels(many ? kPanelsPerTask : 1),
        pass_records(many ? kColsPerPass / record.cols : num_records) {}

  int64_t sums_of_panel() const { return kPanelRows * tiles.tokens; }

  Tiles tiles;
  int64_t num_panels, panel_bytes;
  PanelRecord record;
  int64_t num_records;
  bool many;
  int64_t task_panels, pass_records;
};

void MatMulRunner::RunPanels(Mat<const float> x, const Weight& w, Mat<float> out) {
  PanelPlan plan(x.rows, kernels_.panels->tile_tokens, w);
  RoundTiles(x, w, plan);
  const int64_t scratch_bytes = w.packed == nullptr ? plan.task_panels * plan.panel_bytes : 0;
  const int64_t num_sums = plan.task_panels * plan.sums_of_panel();
  panels_.Reserve(threads_.num_threads() * scratch_bytes);
  sums_.Reserve(threads_.num_threads() * num_sums);
  threads_.ParallelFor(CeilDiv(plan.num_panels, plan.task_panels), [&](int64_t task, int thread) {
    const int64_t first = task * plan.task_panels;
    const int64_t count = std::min(plan.task_panels, plan.num_panels - first);
    std::byte* scratch = panels_.data() + thread * scratch_bytes;
    for (int64_t p = 0; p < count && w.packed == nullptr; ++p)
      kernels_.panels->pack(PanelOf(w, first + p), scratch + p * plan.panel_bytes);
    const std::byte* panels = w.packed == nullptr ? scratch : w.packed + first * plan.panel_bytes;
    float* sums = sums_.data() + thread * num_sums;
    SumPanels(panels, count, w.type, plan, sums);
    for (int64_t t = 0; t < x.rows; ++t) {
      CopySums(sums + kPanelRows * t, plan.sums_of_panel(),
               std::min(count * kPanelRows, w.rows - first * kPanelRows),
               out.row(t) + first * kPanelRows);
    }
  });
}

void MatMulRunner::RoundTiles(Mat<const float> x, const Weight& w, PanelPlan& plan) {
  tiles_.Reserve(plan.tiles.tokens * plan.tiles.token_bytes);
  plan.tiles.data = tiles_.data();
  threads_.ParallelFor(plan.tiles.count, [&](int64_t tile, int) {
    const int64_t begin = TileBegin(plan.tiles, tile);
    kernels_.panels->round({.type = w.type,
                            .x = x.row(begin),
                            .x_stride = x.stride,
                            .tokens = TileBegin(plan.tiles, tile + 1) - begin,
                            .cols = w.cols},
                           tiles_.data() + TileOffset(w.type, plan.tiles, tile, 0));
  });
}

// All tokens with `count` panels that lie one after another.
void MatMulRunner::SumPanels(const std::byte* panels, int64_t count, DType type,
                             const PanelPlan& plan, float* sums) const {
  std::fill_n(sums, count * plan.sums_of_panel(), 0.0f);
  for (int64_t r = 0; r < plan.num_records; r += plan.pass_records) {
    kernels_.panels->dots({.type = type,
                           .panels = panels + r * plan.record.bytes,
                           .num_panels = count,
                           .panel_bytes = plan.panel_bytes,
                           .first_record = r,
                           .records = std::min(plan.pass_records, plan.num_records - r),
                           .tiles = plan.tiles,
                           .sums = sums});
  }
}

void MatMulRunner::DecodeRows(const Weight& w, std::span<const int32_t> ids, Mat<float> out) {
  CADRE_CHECK(out.cols == w.cols && out.rows == static_cast<int64_t>(ids.size()));
  const ByteRows unpacked = unpacked_.Reserve(threads_.num_threads(), w.cols);
  for (const int32_t id : ids) CADRE_CHECK(0 <= id && id < w.rows);
  threads_.ParallelFor(out.rows, [&](int64_t t, int thread) {
    const std::byte* row = w.row(ids[static_cast<size_t>(t)]);
    kernels_.decode_row(w.type, row, w.cols, FromRow(unpacked, thread), out.row(t));
  });
}

}  // namespace cadre
