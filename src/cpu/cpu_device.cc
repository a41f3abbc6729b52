#include "cpu/cpu_device.h"

#include <algorithm>

#include "base/error.h"
#include "cpu/attention.h"
#include "cpu/kernels.h"
#include "cpu/kernels_amx.h"
#include "cpu/matmul.h"
#include "cpu/rope_angles.h"
#include "tensor/buffer.h"

namespace cadre {

namespace {

// The kernels of AVX-512, but for the products of panels.
const KernelTable& AmxTable() {
  static const PanelKernels panels = [] {
    PanelKernels kernels = *Avx512Kernels().panels;
    kernels.tile_tokens = 16;
    kernels.dots = AmxKernels().dots;
    return kernels;
  }();
  static const KernelTable table = [] {
    KernelTable kernels = Avx512Kernels();
    kernels.name = "amx";
    kernels.panels = &panels;
    kernels.peak.matrix = AmxKernels().peak;
    return kernels;
  }();
  return table;
}

}  // namespace

const KernelTable& KernelsOf(Isa isa) {
  CADRE_CHECK(HasIsa(isa));
  switch (isa) {
    case Isa::kScalar:
      return ScalarKernels();
    case Isa::kAvx2:
      return Avx2Kernels();
    case Isa::kAvx512Bw:
      return Avx512BwKernels();
    case Isa::kAvx512:
      return Avx512Kernels();
    case Isa::kAmx:
      return AmxTable();
  }
  return ScalarKernels();
}

namespace {

bool SameShape(Mat<const float> a, Mat<const float> b) {
  return a.rows == b.rows && a.cols == b.cols;
}

// The keys that a row may see, and that the batch fits together.
void CheckBatch(const KvBatch& batch, int64_t num_rows) {
  CADRE_CHECK(static_cast<int64_t>(batch.positions.size()) == num_rows);
  CADRE_CHECK(static_cast<int64_t>(batch.sequence_of_row.size()) == num_rows);
  for (size_t t = 0; t < batch.positions.size(); ++t) {
    CADRE_CHECK(static_cast<size_t>(batch.sequence_of_row[t]) < batch.sequences.size());
    const KvSequence& sequence = batch.sequences[static_cast<size_t>(batch.sequence_of_row[t])];
    CADRE_CHECK(static_cast<uint64_t>(batch.positions[t]) <
                sequence.pages.size() * uint64_t{kKvBlock});
  }
}

class CpuDevice : public Device {
 public:
  CpuDevice(const KernelTable& kernels, ThreadPool& threads)
      : kernels_(kernels),
        threads_(threads),
        matmul_(kernels, threads),
        attention_(kernels, threads) {}

  std::string name() const override { return kernels_.name; }
  ThreadPool& threads() override { return threads_; }
  bool multiplies_bf16() const override { return kernels_.peak.matrix != nullptr; }

  void Embed(const Weight& table, std::span<const int32_t> ids, Mat<float> out) override {
    matmul_.DecodeRows(table, ids, out);
  }

  void RmsNorm(Mat<const float> x, std::span<const float> weight, float eps,
               Mat<float> out) override {
    CADRE_CHECK(SameShape(x, out) && static_cast<int64_t>(weight.size()) == x.cols);
    ForRows(x.rows, [&](int64_t t) {
      kernels_.rms_norm(x.row(t), weight.data(), eps, x.cols, out.row(t));
    });
  }

  void MatMul(Mat<const float> x, const Weight& w, ActivationType activation,
              Mat<float> out) override {
    matmul_.Run(x, w, activation, out);
    if (w.low_rank != nullptr) AddLowRank(x, *w.low_rank, out);
  }

  int64_t PackedBytes(const Weight& w) const override { return matmul_.PackedBytes(w); }
  void Pack(const Weight& w, std::byte* packed) override { matmul_.Pack(w, packed); }

  void Rope(Mat<float> x, int64_t head_dim, std::span<const int64_t> positions,
            std::span<const double> inv_freq, RopeLayout layout) override {
    CADRE_CHECK(head_dim % 2 == 0 && x.cols % head_dim == 0);
    CADRE_CHECK(static_cast<int64_t>(inv_freq.size()) == head_dim / 2);
    CADRE_CHECK(static_cast<int64_t>(positions.size()) == x.rows);
    angles_.Update(positions, inv_freq, threads_);
    ForRows(x.rows, [&](int64_t t) {
      kernels_.rotate(x.row(t), x.cols / head_dim, head_dim, angles_.cosines(t), angles_.sines(t),
                      layout == RopeLayout::kInterleaved);
    });
  }

  void StoreKv(Mat<const float> k, Mat<const float> v, const KvBatch& batch) override {
    const KvShape& shape = batch.shape;
    CADRE_CHECK(SameShape(k, v) && k.cols == shape.num_kv_heads * shape.head_dim);
    CheckBatch(batch, k.rows);
    scratch_.Reserve(threads_.num_threads() * shape.head_dim);
    threads_.ParallelFor(shape.num_kv_heads, [&](int64_t head, int thread) {
      for (int64_t t = 0; t < k.rows; ++t) {
        const int64_t position = batch.positions[static_cast<size_t>(t)];
        const KvSequence& sequence =
            batch.sequences[static_cast<size_t>(batch.sequence_of_row[static_cast<size_t>(t)])];
        kernels_.store_kv(
            {.type = shape.type,
             .head_dim = shape.head_dim,
             .slot = position % kKvBlock,
             .block_bytes = shape.block_bytes(),
             .k = k.row(t) + head * shape.head_dim,
             .v = v.row(t) + head * shape.head_dim,
             .block = sequence.HeadBlock(shape, position / kKvBlock, batch.layer, head),
             .scratch = scratch_.data() + thread * shape.head_dim});
      }
    });
  }

  void Attention(Mat<const float> q, int64_t num_heads, int64_t window, const KvBatch& batch,
                 Mat<float> out, Mat<float> lse) override {
    const KvShape& shape = batch.shape;
    CADRE_CHECK(SameShape(q, out) && q.cols == num_heads * shape.head_dim &&
                num_heads % shape.num_kv_heads == 0);
    CADRE_CHECK(lse.empty() || (lse.rows == q.rows && lse.cols == num_heads));
    CADRE_CHECK(window >= 0);
    CheckBatch(batch, q.rows);
    attention_.Run(
        {.q = q, .num_heads = num_heads, .window = window, .batch = batch, .out = out, .lse = lse});
  }

  void Add(Mat<const float> x, Mat<const float> y, Mat<float> out) override {
    CADRE_CHECK(SameShape(x, y) && SameShape(x, out));
    ForRows(x.rows, [&](int64_t t) { kernels_.add(x.row(t), y.row(t), x.cols, out.row(t)); });
  }

  void SwiGlu(Mat<const float> gate, Mat<const float> up, Mat<float> out) override {
    CADRE_CHECK(SameShape(gate, up) && SameShape(gate, out));
    ForRows(gate.rows,
            [&](int64_t t) { kernels_.swiglu(gate.row(t), up.row(t), gate.cols, out.row(t)); });
  }

  void GatherRows(Mat<const float> x, const DispatchView& plan, Mat<float> out) override {
    CADRE_CHECK(out.cols == x.cols && out.rows == static_cast<int64_t>(plan.token_of_row.size()));
    for (const int32_t token : plan.token_of_row) CADRE_CHECK(0 <= token && token < x.rows);
    ForRows(out.rows, [&](int64_t r) {
      std::copy_n(x.row(plan.token_of_row[static_cast<size_t>(r)]), x.cols, out.row(r));
    });
  }

  void CombineRows(Mat<const float> rows, const DispatchView& plan, Mat<float> out) override {
    const Mat<const int32_t> choices = plan.row_of_choice;
    CADRE_CHECK(out.cols == rows.cols && out.rows == choices.rows);
    CADRE_CHECK(plan.gates.rows == choices.rows && plan.gates.cols == choices.cols);
    ForRows(out.rows, [&](int64_t t) {
      std::fill_n(out.row(t), out.cols, 0.0f);
      for (int64_t c = 0; c < choices.cols; ++c) {
        const int32_t r = choices.row(t)[c];
        CADRE_CHECK(r < rows.rows);
        if (r >= 0) kernels_.add_scaled(rows.row(r), plan.gates.row(t)[c], out.cols, out.row(t));
      }
    });
  }

 private:
  // A few tokens at a time: what is added to an output row is of its own input row alone.
  void AddLowRank(Mat<const float> x, const LowRank& low_rank, Mat<float> out) {
    constexpr int64_t kTokensAtOnce = 64;
    const int64_t most = std::min(kTokensAtOnce, x.rows);
    hidden_.Reserve(most * low_rank.rank());
    added_.Reserve(most * out.cols);
    for (int64_t begin = 0; begin < x.rows; begin += most) {
      const int64_t end = std::min(x.rows, begin + most);
      const Mat<float> hidden = hidden_.AsMat(end - begin, low_rank.rank());
      const Mat<float> added = added_.AsMat(end - begin, out.cols);
      matmul_.Run(x.Rows(begin, end), low_rank.down, ActivationType::kF32, hidden);
      matmul_.Run(hidden, low_rank.up, ActivationType::kF32, added);
      ForRows(end - begin, [&](int64_t t) {
        kernels_.add_scaled(added.row(t), low_rank.scale, out.cols, out.row(begin + t));
      });
    }
  }

  template <typename RunRow>
  void ForRows(int64_t num_rows, const RunRow& run_row) {
    threads_.ParallelFor(num_rows, [&](int64_t t, int) { run_row(t); });
  }

  const KernelTable& kernels_;
  ThreadPool& threads_;
  MatMulRunner matmul_;
  AttentionRunner attention_;
  RopeAngles angles_;
  Buffer<float> scratch_;  // of the operation that runs, a part per thread
  Buffer<float> hidden_;   // of a low rank's product, [tokens, rank]
  Buffer<float> added_;    // what it adds, [tokens, outputs]
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice(Isa isa, ThreadPool& threads) {
  return std::make_unique<CpuDevice>(KernelsOf(isa), threads);
}

}  // namespace cadre
