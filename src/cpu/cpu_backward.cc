#include "cpu/cpu_backward.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "cpu/backward_attention.h"
#include "cpu/backward_gemm.h"
#include "cpu/backward_half_gemm.h"
#include "cpu/backward_kernels.h"
#include "cpu/block_attention.h"
#include "cpu/rope_angles.h"
#include "tensor/buffer.h"

namespace cadre {
namespace {

// Units of parallel work; where a sum is cut at them, they are part of what the operation means.
constexpr int64_t kTokenChunk = 64;
constexpr int64_t kColumnChunk = 64;
constexpr int64_t kValueChunk = 16384;

const BackwardKernels& BackwardKernelsOf(Isa isa) {
  CADRE_CHECK(HasIsa(isa));
  switch (isa) {
    case Isa::kScalar:
      return ScalarBackwardKernels();
    case Isa::kAvx2:
      return Avx2BackwardKernels();
    case Isa::kAvx512Bw:
    case Isa::kAvx512:
    case Isa::kAmx:
      return Avx512BwBackwardKernels();
  }
  CADRE_CHECK(false && "an Isa outside the list");
  return ScalarBackwardKernels();
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <typename A, typename B>
bool SameShape(Mat<A> a, Mat<B> b) {
  return a.rows == b.rows && a.cols == b.cols;
}

class CpuBackward final : public BackwardOps {
 public:
  CpuBackward(const BackwardKernels& kernels, const KernelTable& forward_kernels,
              ThreadPool& threads)
      : kernels_(kernels),
        threads_(threads),
        gemm_(kernels, forward_kernels, threads),
        half_gemm_(kernels, forward_kernels, threads),
        decoder_(forward_kernels, threads),
        attention_(kernels, threads),
        attention_gradient_(kernels, threads) {}

  void EmbedBackward(std::span<const int32_t> ids, Mat<const float> d_out,
                     Mat<float> d_table) override {
    CADRE_CHECK(std::ssize(ids) == d_out.rows && d_out.cols == d_table.cols);
    for (const int32_t id : ids) CADRE_CHECK(id >= 0 && id < d_table.rows);
    threads_.ParallelFor(CeilDiv(d_out.cols, kColumnChunk), [&](int64_t chunk, int) {
      const int64_t begin = chunk * kColumnChunk, size = std::min(kColumnChunk, d_out.cols - begin);
      for (int64_t t = 0; t < d_out.rows; ++t) {
        kernels_.add(size, d_out.row(t) + begin, d_table.row(ids[static_cast<size_t>(t)]) + begin);
      }
    });
  }

  void RmsNormBackward(Mat<const float> x, std::span<const float> weight, float eps,
                       Mat<const float> d_out, Mat<float> d_x, std::span<float> d_weight) override {
    CADRE_CHECK(SameShape(x, d_out) && SameShape(x, d_x) && std::ssize(weight) == x.cols &&
                (d_weight.empty() || d_weight.size() == weight.size()));
    const int64_t num_chunks = CeilDiv(x.rows, kTokenChunk);
    partial_sums_.Reserve(num_chunks * x.cols);
    threads_.ParallelFor(num_chunks, [&](int64_t chunk, int) {
      float* sums = partial_sums_.data() + chunk * x.cols;
      std::fill_n(sums, x.cols, 0.0f);
      for (int64_t t = chunk * kTokenChunk; t < std::min(x.rows, (chunk + 1) * kTokenChunk); ++t) {
        kernels_.rms_norm(x.cols, x.row(t), weight.data(), eps, d_out.row(t), d_x.row(t), sums);
      }
    });
    for (int64_t chunk = 0; chunk < num_chunks && !d_weight.empty(); ++chunk) {
      kernels_.add(x.cols, partial_sums_.data() + chunk * x.cols, d_weight.data());
    }
  }

  void MatMulBackward(Mat<const float> x, Mat<const float> w, Mat<const float> d_out,
                      ActivationType activation, Into into, Mat<float> d_x,
                      Mat<float> d_w) override {
    CADRE_CHECK(x.cols == w.cols && d_out.rows == x.rows && d_out.cols == w.rows);
    CADRE_CHECK((d_x.empty() || SameShape(d_x, x)) && (d_w.empty() || SameShape(d_w, w)));
    if (activation == ActivationType::kBF16) {
      if (!d_x.empty()) half_gemm_.Product({d_out}, w, into, d_x);
      if (!d_w.empty()) half_gemm_.Product({d_out, true}, x, Into::kSum, d_w);
      return;
    }
    if (!d_x.empty()) gemm_.Product({d_out}, {w}, into, d_x);
    if (!d_w.empty()) gemm_.Product({d_out, true}, {x}, Into::kSum, d_w);
  }

  void MatMul(Mat<const float> x, const Weight& w, Mat<float> out) override {
    CADRE_CHECK(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
    gemm_.Product({x}, Factor::Of(w, true), Into::kFresh, out);
    if (w.low_rank != nullptr) AddLowRank(x, *w.low_rank, out);
  }

  void MatMulInputBackward(const Weight& w, Mat<const float> d_out, ActivationType activation,
                           Into into, Mat<float> d_x) override {
    CADRE_CHECK(d_out.rows == d_x.rows && d_out.cols == w.rows && d_x.cols == w.cols);
    if (activation == ActivationType::kBF16) {
      half_gemm_.Product({d_out}, Decoded(w), into, d_x);
    } else {
      gemm_.Product({d_out}, Factor::Of(w, false), into, d_x);
    }
  }

  void RopeBackward(Mat<float> d_x, int64_t head_dim, std::span<const int64_t> positions,
                    std::span<const double> inv_freq, RopeLayout layout) override {
    CADRE_CHECK(head_dim > 0 && head_dim % 2 == 0 && d_x.cols % head_dim == 0);
    CADRE_CHECK(std::ssize(positions) == d_x.rows && std::ssize(inv_freq) == head_dim / 2);
    angles_.Update(positions, inv_freq, threads_);
    heads_.Reserve(threads_.num_threads() * head_dim);
    threads_.ParallelFor(d_x.rows, [&](int64_t t, int thread) {
      float* old = heads_.data() + thread * head_dim;
      for (int64_t head = 0; head < d_x.cols; head += head_dim) {
        float* half = d_x.row(t) + head;
        kernels_.rotate_back(head_dim / 2, angles_.cosines(t), angles_.sines(t), half,
                             half + head_dim / 2);
        if (layout == RopeLayout::kHalfSplit) continue;
        std::copy_n(half, head_dim, old);
        for (int64_t i = 0; i < head_dim; ++i) half[i] = old[i / 2 + i % 2 * (head_dim / 2)];
      }
    });
  }

  void Attention(Mat<const float> q, Mat<const float> k, Mat<const float> v, int64_t num_heads,
                 int64_t window, const KvBatch& batch, Mat<float> out, Mat<float> lse) override {
    CheckAttention(q, k, v, num_heads, window, batch.shape);
    CADRE_CHECK(SameShape(out, q) &&
                (lse.empty() || (lse.rows == q.rows && lse.cols == num_heads)));
    attention_.Run({q, k, v, num_heads, window, batch, out, lse});
  }

  void AttentionBackward(Mat<const float> q, Mat<const float> k, Mat<const float> v,
                         int64_t num_heads, int64_t window, const KvBatch& batch,
                         Mat<const float> out, Mat<const float> lse, Mat<const float> d_out,
                         Mat<float> d_q, Mat<float> d_k, Mat<float> d_v) override {
    CheckAttention(q, k, v, num_heads, window, batch.shape);
    CADRE_CHECK(SameShape(out, q) && SameShape(d_out, q) && SameShape(d_q, q));
    CADRE_CHECK(lse.rows == q.rows && lse.cols == num_heads && SameShape(d_k, k) &&
                SameShape(d_v, v));
    attention_gradient_.Run({q, k, v, num_heads, window, batch, out, lse, d_out, d_q, d_k, d_v});
  }

  void SwiGluBackward(Mat<const float> gate, Mat<const float> up, Mat<const float> d_out,
                      Mat<float> d_gate, Mat<float> d_up) override {
    CADRE_CHECK(SameShape(gate, up) && SameShape(gate, d_out) && SameShape(gate, d_gate) &&
                SameShape(gate, d_up));
    threads_.ParallelFor(gate.rows, [&](int64_t t, int) {
      kernels_.swiglu(gate.cols, gate.row(t), up.row(t), d_out.row(t), d_gate.row(t), d_up.row(t));
    });
  }

  void GatherRowsBackward(const DispatchView& plan, Mat<const float> d_rows,
                          Mat<float> d_x) override {
    CADRE_CHECK(plan.row_of_choice.rows == d_x.rows && d_rows.cols == d_x.cols);
    threads_.ParallelFor(d_x.rows, [&](int64_t t, int) {
      bool any = false;
      for (const int32_t row : plan.row_of_choice.row_span(t)) {
        CADRE_CHECK(row < d_rows.rows);
        if (row < 0) continue;
        if (any) {
          kernels_.add(d_x.cols, d_rows.row(row), d_x.row(t));
        } else {
          std::copy_n(d_rows.row(row), d_x.cols, d_x.row(t));
        }
        any = true;
      }
      if (!any) std::fill_n(d_x.row(t), d_x.cols, 0.0f);
    });
  }

  void CombineRowsBackward(Mat<const float> rows, const DispatchView& plan, Mat<const float> d_out,
                           Mat<float> d_rows, Mat<float> d_gates) override {
    CADRE_CHECK(SameShape(rows, d_rows) && rows.cols == d_out.cols &&
                plan.row_of_choice.rows == d_out.rows);
    CADRE_CHECK(SameShape(plan.gates, plan.row_of_choice) &&
                SameShape(d_gates, plan.row_of_choice));
    threads_.ParallelFor(d_out.rows, [&](int64_t t, int) {
      for (int64_t c = 0; c < plan.row_of_choice.cols; ++c) {
        const int32_t row = plan.row_of_choice.row(t)[c];
        CADRE_CHECK(row < rows.rows);
        float& d_gate = d_gates.row(t)[c];
        d_gate = 0;
        if (row < 0) continue;
        kernels_.scale(rows.cols, plan.gates.row(t)[c], d_out.row(t), d_rows.row(row));
        d_gate = kernels_.dot(rows.cols, d_out.row(t), rows.row(row));
      }
    });
  }

  void CrossEntropy(Mat<float> logits, std::span<const int32_t> targets, float scale,
                    std::span<float> losses) override {
    CADRE_CHECK(std::ssize(targets) == logits.rows && losses.size() == targets.size());
    threads_.ParallelFor(logits.rows, [&](int64_t t, int) {
      const int32_t target = targets[static_cast<size_t>(t)];
      CADRE_CHECK(target < logits.cols);
      float& loss = losses[static_cast<size_t>(t)];
      if (target >= 0) {
        loss = kernels_.cross_entropy(logits.cols, target, scale, logits.row(t));
      } else {
        loss = 0;
        std::fill_n(logits.row(t), logits.cols, 0.0f);
      }
    });
  }

  void AdamW(std::span<float> parameter, std::span<const float> gradient, std::span<float> moment1,
             std::span<float> moment2, const AdamWSettings& settings) override {
    CADRE_CHECK(gradient.size() == parameter.size() && moment1.size() == parameter.size() &&
                moment2.size() == parameter.size() && settings.step >= 1);
    const double beta1 = settings.beta1, beta2 = settings.beta2, rate = settings.learning_rate;
    const auto step = static_cast<double>(settings.step);
    const AdamWFactors factors = {
        .gradient_scale = settings.gradient_scale,
        .beta1 = settings.beta1,
        .one_minus_beta1 = static_cast<float>(1 - beta1),
        .beta2 = settings.beta2,
        .one_minus_beta2 = static_cast<float>(1 - beta2),
        .keep = static_cast<float>(1 - rate * double{settings.weight_decay}),
        .step = static_cast<float>(rate / (1 - std::pow(beta1, step))),
        .inv_correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, step))),
        .epsilon = settings.epsilon,
    };
    const int64_t size = std::ssize(parameter);
    threads_.ParallelFor(CeilDiv(size, kValueChunk), [&](int64_t chunk, int) {
      const int64_t begin = chunk * kValueChunk;
      kernels_.adamw(std::min(kValueChunk, size - begin), factors, gradient.data() + begin,
                     parameter.data() + begin, moment1.data() + begin, moment2.data() + begin);
    });
  }

  double SumOfSquares(std::span<const float> values) override {
    const int64_t size = std::ssize(values), num_chunks = CeilDiv(size, kValueChunk);
    chunk_sums_.Reserve(num_chunks);
    threads_.ParallelFor(num_chunks, [&](int64_t chunk, int) {
      const int64_t begin = chunk * kValueChunk;
      chunk_sums_[chunk] =
          kernels_.sum_of_squares(std::min(kValueChunk, size - begin), values.data() + begin);
    });
    double sum = 0;
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) sum += chunk_sums_[chunk];
    return sum;
  }

 private:
  void AddLowRank(Mat<const float> x, const LowRank& low_rank, Mat<float> out) {
    hidden_.Reserve(x.rows * low_rank.rank());
    const Mat<float> hidden = hidden_.AsMat(x.rows, low_rank.rank());
    gemm_.Product({x}, Factor::Of(low_rank.down, true), Into::kFresh, hidden);
    for (int64_t i = 0; i < hidden.rows * hidden.cols; ++i) hidden.data[i] *= low_rank.scale;
    gemm_.Product({hidden}, Factor::Of(low_rank.up, true), Into::kSum, out);
  }

  static void CheckAttention(Mat<const float> q, Mat<const float> k, Mat<const float> v,
                             int64_t num_heads, int64_t window, const KvShape& shape) {
    CADRE_CHECK(num_heads > 0 && num_heads % shape.num_kv_heads == 0 && window >= 0);
    CADRE_CHECK(q.cols == num_heads * shape.head_dim && SameShape(k, v));
    CADRE_CHECK(k.rows == q.rows && k.cols == shape.num_kv_heads * shape.head_dim);
  }

  // Valid until the next one.
  Mat<const float> Decoded(const Weight& w) {
    const Factor factor = Factor::Of(w, false);
    if (factor.stored == nullptr) return factor.mat;
    ids_.resize(static_cast<size_t>(w.rows));
    std::iota(ids_.begin(), ids_.end(), 0);
    decoded_.Reserve(w.rows * w.cols);
    const Mat<float> decoded = decoded_.AsMat(w.rows, w.cols);
    decoder_.DecodeRows(w, ids_, decoded);
    return decoded;
  }

  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  Gemm gemm_;
  HalfGemm half_gemm_;
  MatMulRunner decoder_;
  BlockAttentionRunner attention_;
  AttentionGradientRunner attention_gradient_;
  Buffer<float> partial_sums_;
  Buffer<double> chunk_sums_;
  RopeAngles angles_;
  Buffer<float> decoded_;  // of a weight that is not float32
  Buffer<float> hidden_;   // between the two factors of a low-rank product
  std::vector<int32_t> ids_;
  Buffer<float> heads_;  // each thread's
};

}  // namespace

std::unique_ptr<BackwardOps> MakeCpuBackward(Isa isa, ThreadPool& threads) {
  return std::make_unique<CpuBackward>(BackwardKernelsOf(isa), KernelsOf(isa), threads);
}

}  // namespace cadre
