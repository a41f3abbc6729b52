#include "cpu/row_decoder.h"

#include "base/error.h"

namespace cadre {

void RowDecoder::Reserve() {
  unpacked_rows_ = unpacked_.Reserve(threads_.num_threads(), kCols);
  decoded_.Reserve(threads_.num_threads() * kRows * kCols);
}

Mat<const float> RowDecoder::Decode(const Weight& w, int64_t row, int64_t rows, int64_t col,
                                    int64_t cols, int thread) {
  CADRE_CHECK(rows <= kRows && cols <= kCols && row + rows <= w.rows && col + cols <= w.cols);
  float* decoded = decoded_.data() + thread * kRows * kCols;
  const ByteRows unpacked = FromRow(unpacked_rows_, thread);
  for (int64_t r = 0; r < rows; ++r) {
    kernels_.decode_row(w.type, w.row(row + r) + RowBytes(w.type, col), cols, unpacked,
                        decoded + r * kCols);
  }
  return {decoded, rows, cols, kCols};
}

}  // namespace cadre
