#include "cpu/matmul.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

constexpr int64_t kCellRows = 16;   // outputs of one task: a cache line of a result row
constexpr int64_t kBlockRows = 16;  // weight rows unpacked at a time, where many tokens use them,
constexpr int64_t kFewTokensBlockRows =
    4;  // and where few do: then they stay in the first-level cache
constexpr int64_t kManyTokens = 16;
constexpr int64_t kMinCellTokens = 8;
constexpr int64_t kCellsPerThread = 4;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

ByteRows FromRow(const ByteRows& rows, int64_t r) {
  return {rows.values + r * rows.stride, rows.scales + r * (rows.stride / 4),
          rows.offsets + r * rows.offset_stride, rows.stride, rows.offset_stride};
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
  if (activation == ActivationType::kInt8 && IsQuantised(w.type)) {
    RunBytes(x, w, out);
  } else {
    RunFloat(x, w, out);
  }
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
  threads_.ParallelFor(x.rows,
                       [&](int64_t t, int) { kernels_.round_row(x.row(t), x.cols, tokens, t); });
  ForCells(w.rows, x.rows, [&](const Cell& cell, int thread) {
    const ByteRows block = FromRow(unpacked, thread * kBlockRows);
    const int64_t block_rows = BlockRows(cell.tokens);
    for (int64_t row = cell.row; row < cell.row + cell.rows; row += block_rows) {
      const int64_t rows = std::min(block_rows, cell.row + cell.rows - row);
      for (int64_t r = 0; r < rows; ++r)
        kernels_.unpack_row(w.type, w.row(row + r), w.cols, block, r);
      kernels_.byte_dots({.weights = block,
                          .has_offsets = (kTypesWithOffsets >> static_cast<int>(w.type) & 1) != 0,
                          .x = FromRow(tokens, cell.token),
                          .rows = rows,
                          .tokens = cell.tokens,
                          .out = out.row(cell.token) + row,
                          .out_stride = out.stride});
    }
  });
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
