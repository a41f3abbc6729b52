#include <cmath>
#include <memory>

#include "bench/kernel_case.h"
#include "tensor/buffer.h"

namespace cadre::bench {
namespace {

constexpr int64_t kRows = 4;  // a second-level cache holds three times as many

struct Rows {
  std::vector<float> x = Normals(kRows * kCols);
  std::vector<float> y = x;
  Buffer<float> out{kRows * kCols};
};

// `run_row(x, y, out)` for rows in turn; it touches so many floats for each of the row's.
template <typename RunRow>
Work ForRows(int64_t floats, RunRow run_row) {
  auto rows = std::make_shared<Rows>();
  return {{{LimitKind::kCache, static_cast<double>(4 * floats * kRows * kCols)}}, [=] {
            for (int64_t i = 0; i < kRows * kCols; i += kCols)
              run_row(rows->x.data() + i, rows->y.data() + i, rows->out.data() + i);
          }};
}

Work RotateRows(const KernelTable& kernels, bool interleaved) {
  constexpr int64_t kHeadDim = 128;
  constexpr float kAngle = 0.3f;  // turned again and again: a turn changes no length
  const std::vector<float> cosines(kHeadDim / 2, std::cos(kAngle));
  const std::vector<float> sines(kHeadDim / 2, std::sin(kAngle));
  return ForRows(2, [=, &kernels](float* x, const float*, float*) {
    kernels.rotate(x, kCols / kHeadDim, kHeadDim, cosines.data(), sines.data(), interleaved);
  });
}

}  // namespace

void AddRowCases(Bench& bench, std::vector<KernelCase>& cases) {
  const KernelTable& kernels = bench.kernels;
  const auto add = [&](std::string_view kernel, const std::string& type,
                       std::function<Work()> prepare) {
    cases.push_back({kernel, type, 1, Source::kCache, std::move(prepare)});
  };
  add("rms_norm", "", [&] {
    return ForRows(3, [&](const float* x, const float* y, float* out) {
      kernels.rms_norm(x, y, 1e-5f, kCols, out);
    });
  });
  add("rotate", "halves", [&] { return RotateRows(kernels, false); });
  add("rotate", "pairs", [&] { return RotateRows(kernels, true); });
  add("add", "", [&] {
    return ForRows(
        3, [&](const float* x, const float* y, float* out) { kernels.add(x, y, kCols, out); });
  });
  add("swiglu", "", [&] {
    return ForRows(
        3, [&](const float* x, const float* y, float* out) { kernels.swiglu(x, y, kCols, out); });
  });
  add("add_scaled", "", [&] {
    return ForRows(3, [&](const float* x, const float*, float* out) {
      kernels.add_scaled(x, 1e-3f, kCols, out);
    });
  });
}

}  // namespace cadre::bench
