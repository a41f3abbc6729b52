// Every operation as its formula says, in double, one value after another. What it rounds, it
// rounds on purpose: activations and the cache to their stored types, results to float.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "ops/device.h"
#include "tensor/float16.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

// values as int8 times a float scale amax / 127: quotients to the nearest integer, ties to even. A
// group that is not finite has a scale that is not, and levels of 0.
struct Int8Group {
  float scale = 0;
  std::vector<int8_t> levels;
};

Int8Group RoundToInt8(std::span<const float> values) {
  Int8Group group;
  group.levels.resize(values.size());
  float amax = 0;
  for (const float value : values) {
    if (!std::isnan(amax) && !(std::abs(value) <= amax)) amax = std::abs(value);
  }
  group.scale = amax / 127;
  const float inverse = 1 / group.scale;
  if (!std::isnormal(inverse)) return group;  // nothing to see, or nothing to trust
  for (size_t i = 0; i < values.size(); ++i) {
    group.levels[i] = static_cast<int8_t>(std::nearbyint(values[i] * inverse));
  }
  return group;
}

// What kRounded makes of a row of activations for weights of a type.
std::vector<double> RoundedActivations(std::span<const float> x, DType weight_type) {
  std::vector<double> rounded(x.begin(), x.end());
  if (weight_type == DType::kBF16) {
    for (double& value : rounded) value = ToFloat(ToBF16(static_cast<float>(value)));
  }
  if (!IsQuantised(weight_type)) return rounded;
  const auto group_size = static_cast<size_t>(ActivationGroup(weight_type));
  for (size_t begin = 0; begin < x.size(); begin += group_size) {
    const auto group = RoundToInt8(x.subspan(begin, group_size));
    for (size_t i = 0; i < group_size; ++i)
      rounded[begin + i] = static_cast<double>(group.scale) * group.levels[i];
  }
  return rounded;
}

std::vector<float> DecodedRow(const Weight& w, int64_t row) {
  std::vector<float> values(static_cast<size_t>(w.cols));
  DecodeRow(w.type, w.row(row), values);
  return values;
}

// One key/value head of one page, as kv_view.h lays it out.
class KvHead {
 public:
  KvHead(const KvShape& shape, std::byte* block) : shape_(shape), block_(block) {}

  int64_t KeyIndex(int64_t slot, int64_t d) const { return d * kKvBlock + slot; }
  int64_t ValueIndex(int64_t slot, int64_t d) const {
    return shape_.head_dim * kKvBlock + slot * shape_.head_dim + d;
  }

  double Key(int64_t slot, int64_t d) const { return Element(KeyIndex(slot, d)) * Scale(slot); }
  double Value(int64_t slot, int64_t d) const {
    return Element(ValueIndex(slot, d)) * Scale(kKvBlock + slot);
  }

  void Store(std::span<const float> k, std::span<const float> v, int64_t slot) {
    StoreOne(
        k, [&](int64_t d) { return KeyIndex(slot, d); }, slot);
    StoreOne(
        v, [&](int64_t d) { return ValueIndex(slot, d); }, kKvBlock + slot);
  }

 private:
  template <typename T>
  T Read(int64_t byte) const {
    T value;
    std::memcpy(&value, block_ + byte, sizeof value);
    return value;
  }
  template <typename T>
  void Write(int64_t byte, T value) {
    std::memcpy(block_ + byte, &value, sizeof value);
  }

  double Element(int64_t index) const {
    const int64_t byte = index * KvElementBytes(shape_.type);
    switch (shape_.type) {
      case KvType::kF32:
        return Read<float>(byte);
      case KvType::kF16:
        return ToFloat(Read<F16>(byte));
      case KvType::kBF16:
        return ToFloat(Read<BF16>(byte));
      case KvType::kQ8:
        return Read<int8_t>(byte);
    }
    return 0;
  }
  int64_t ScaleByte(int64_t index) const { return 2 * shape_.block_bytes() + 4 * index; }
  double Scale(int64_t index) const {
    return shape_.type == KvType::kQ8 ? Read<float>(ScaleByte(index)) : 1.0;
  }

  template <typename IndexOf>
  void StoreOne(std::span<const float> values, IndexOf index_of, int64_t scale_index) {
    Int8Group group;
    if (shape_.type == KvType::kQ8) {
      group = RoundToInt8(values);
      Write(ScaleByte(scale_index), group.scale);
    }
    for (int64_t d = 0; d < shape_.head_dim; ++d) {
      const float value = values[static_cast<size_t>(d)];
      const int64_t byte = index_of(d) * KvElementBytes(shape_.type);
      switch (shape_.type) {
        case KvType::kF32:
          Write(byte, value);
          break;
        case KvType::kF16:
          Write(byte, ToF16(value));
          break;
        case KvType::kBF16:
          Write(byte, ToBF16(value));
          break;
        case KvType::kQ8:
          Write(byte, group.levels[static_cast<size_t>(d)]);
          break;
      }
    }
  }

  const KvShape& shape_;
  std::byte* block_;
};

KvHead HeadOf(const KvBatch& batch, int64_t row, int64_t position, int64_t head) {
  const auto sequence =
      batch.sequences[static_cast<size_t>(batch.sequence_of_row[static_cast<size_t>(row)])];
  return {batch.shape, sequence.HeadBlock(batch.shape, position / kKvBlock, batch.layer, head)};
}

class ReferenceDevice : public Device {
 public:
  std::string name() const override { return "reference"; }
  ThreadPool& threads() override { return threads_; }

  void Embed(const Weight& table, std::span<const int32_t> ids, Mat<float> out) override {
    CADRE_CHECK(out.cols == table.cols && out.rows == static_cast<int64_t>(ids.size()));
    for (int64_t t = 0; t < out.rows; ++t) {
      const int64_t id = ids[static_cast<size_t>(t)];
      CADRE_CHECK(0 <= id && id < table.rows);
      DecodeRow(table.type, table.row(id), out.row_span(t));
    }
  }

  void RmsNorm(Mat<const float> x, std::span<const float> weight, float eps,
               Mat<float> out) override {
    CADRE_CHECK(out.rows == x.rows && out.cols == x.cols &&
                static_cast<int64_t>(weight.size()) == x.cols);
    for (int64_t t = 0; t < x.rows; ++t) {
      double sum = 0;
      for (const float value : x.row_span(t)) sum += static_cast<double>(value) * value;
      const double root = std::sqrt(sum / static_cast<double>(x.cols) + eps);
      for (int64_t i = 0; i < x.cols; ++i) {
        out.row(t)[i] = static_cast<float>(
            x.row(t)[i] * static_cast<double>(weight[static_cast<size_t>(i)]) / root);
      }
    }
  }

  void MatMul(Mat<const float> x, const Weight& w, ActivationType activation,
              Mat<float> out) override {
    CADRE_CHECK(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
    std::vector<std::vector<double>> rows;
    const bool halves = activation == ActivationType::kBF16 && w.type == DType::kF32;
    for (int64_t t = 0; t < x.rows; ++t) {
      rows.push_back(activation != ActivationType::kF32
                         ? RoundedActivations(x.row_span(t), halves ? DType::kBF16 : w.type)
                         : std::vector<double>(x.row(t), x.row(t) + x.cols));
    }
    for (int64_t n = 0; n < w.rows; ++n) {
      auto weights = DecodedRow(w, n);
      if (halves) {
        for (auto& weight : weights) weight = ToFloat(ToBF16(static_cast<float>(weight)));
      }
      for (int64_t t = 0; t < x.rows; ++t) {
        double sum = 0;
        for (size_t k = 0; k < weights.size(); ++k)
          sum += rows[static_cast<size_t>(t)][k] * weights[k];
        out.row(t)[n] = static_cast<float>(sum);
      }
    }
    if (w.low_rank != nullptr) AddLowRank(x, *w.low_rank, out);
  }

  int64_t PackedBytes(const Weight&) const override { return 0; }
  void Pack(const Weight&, std::byte*) override {}

  void Rope(Mat<float> x, int64_t head_dim, std::span<const int64_t> positions,
            std::span<const double> inv_freq, RopeLayout layout) override {
    const int64_t half = head_dim / 2;
    CADRE_CHECK(head_dim % 2 == 0 && x.cols % head_dim == 0 &&
                static_cast<int64_t>(inv_freq.size()) == half);
    CADRE_CHECK(static_cast<int64_t>(positions.size()) == x.rows);
    std::vector<float> old(static_cast<size_t>(head_dim));
    for (int64_t t = 0; t < x.rows; ++t) {
      for (float* head = x.row(t); head < x.row(t) + x.cols; head += head_dim) {
        std::copy_n(head, head_dim, old.begin());
        for (int64_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(positions[static_cast<size_t>(t)]) *
                               inv_freq[static_cast<size_t>(i)];
          const bool interleaved = layout == RopeLayout::kInterleaved;
          const double a = old[static_cast<size_t>(interleaved ? 2 * i : i)];
          const double b = old[static_cast<size_t>(interleaved ? 2 * i + 1 : i + half)];
          head[i] = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
          head[i + half] = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
        }
      }
    }
  }

  void StoreKv(Mat<const float> k, Mat<const float> v, const KvBatch& batch) override {
    const int64_t head_dim = batch.shape.head_dim;
    CADRE_CHECK(k.cols == batch.shape.num_kv_heads * head_dim && v.cols == k.cols &&
                v.rows == k.rows);
    for (int64_t t = 0; t < k.rows; ++t) {
      const int64_t position = batch.positions[static_cast<size_t>(t)];
      for (int64_t head = 0; head < batch.shape.num_kv_heads; ++head) {
        const auto size = static_cast<size_t>(head_dim);
        HeadOf(batch, t, position, head)
            .Store({k.row(t) + head * head_dim, size}, {v.row(t) + head * head_dim, size},
                   position % kKvBlock);
      }
    }
  }

  void Attention(Mat<const float> q, int64_t num_heads, int64_t window, const KvBatch& batch,
                 Mat<float> out, Mat<float> lse) override {
    const int64_t head_dim = batch.shape.head_dim;
    CADRE_CHECK(q.cols == num_heads * head_dim && out.cols == q.cols && out.rows == q.rows);
    CADRE_CHECK(num_heads % batch.shape.num_kv_heads == 0);
    for (int64_t t = 0; t < q.rows; ++t) {
      for (int64_t head = 0; head < num_heads; ++head) {
        const double denominator =
            AttendOne(q.row(t) + head * head_dim, t, head / (num_heads / batch.shape.num_kv_heads),
                      window, batch, out.row(t) + head * head_dim);
        if (!lse.empty()) lse.row(t)[head] = static_cast<float>(denominator);
      }
    }
  }

  void Add(Mat<const float> x, Mat<const float> y, Mat<float> out) override {
    CADRE_CHECK(x.rows == y.rows && x.cols == y.cols && out.rows == x.rows && out.cols == x.cols);
    for (int64_t t = 0; t < x.rows; ++t) {
      for (int64_t i = 0; i < x.cols; ++i) out.row(t)[i] = x.row(t)[i] + y.row(t)[i];
    }
  }

  void SwiGlu(Mat<const float> gate, Mat<const float> up, Mat<float> out) override {
    CADRE_CHECK(gate.rows == up.rows && gate.cols == up.cols && out.rows == up.rows &&
                out.cols == up.cols);
    for (int64_t t = 0; t < gate.rows; ++t) {
      for (int64_t i = 0; i < gate.cols; ++i) {
        const double g = gate.row(t)[i];
        out.row(t)[i] = static_cast<float>(g / (1 + std::exp(-g)) * up.row(t)[i]);
      }
    }
  }

  void GatherRows(Mat<const float> x, const DispatchView& plan, Mat<float> out) override {
    CADRE_CHECK(out.cols == x.cols && out.rows == static_cast<int64_t>(plan.token_of_row.size()));
    for (int64_t r = 0; r < out.rows; ++r) {
      std::copy_n(x.row(plan.token_of_row[static_cast<size_t>(r)]), x.cols, out.row(r));
    }
  }

  void CombineRows(Mat<const float> rows, const DispatchView& plan, Mat<float> out) override {
    CADRE_CHECK(out.cols == rows.cols && out.rows == plan.row_of_choice.rows);
    for (int64_t t = 0; t < out.rows; ++t) {
      for (int64_t i = 0; i < out.cols; ++i) {
        double sum = 0;
        for (int64_t c = 0; c < plan.row_of_choice.cols; ++c) {
          const int32_t r = plan.row_of_choice.row(t)[c];
          if (r >= 0) sum += static_cast<double>(plan.gates.row(t)[c]) * rows.row(r)[i];
        }
        out.row(t)[i] = static_cast<float>(sum);
      }
    }
  }

 private:
  static void AddLowRank(Mat<const float> x, const LowRank& low_rank, Mat<float> out) {
    const auto rank = static_cast<size_t>(low_rank.rank());
    std::vector<double> hidden(rank);
    for (int64_t t = 0; t < x.rows; ++t) {
      for (size_t r = 0; r < rank; ++r) {
        const auto down = DecodedRow(low_rank.down, static_cast<int64_t>(r));
        hidden[r] = 0;
        for (size_t k = 0; k < down.size(); ++k) hidden[r] += double{x.row_span(t)[k]} * down[k];
      }
      for (int64_t n = 0; n < out.cols; ++n) {
        const auto up = DecodedRow(low_rank.up, n);
        double sum = 0;
        for (size_t r = 0; r < rank; ++r) sum += hidden[r] * up[r];
        out.row(t)[n] = static_cast<float>(out.row(t)[n] + low_rank.scale * sum);
      }
    }
  }

  // One query head of one row; returns the log of the softmax denominator.
  static double AttendOne(const float* q, int64_t row, int64_t kv_head, int64_t window,
                          const KvBatch& batch, float* out) {
    const int64_t head_dim = batch.shape.head_dim;
    const int64_t end = batch.positions[static_cast<size_t>(row)] + 1;
    const int64_t begin = window > 0 ? std::max<int64_t>(0, end - window) : 0;
    std::vector<double> scores;
    double most = -std::numeric_limits<double>::infinity();
    for (int64_t p = begin; p < end; ++p) {
      const KvHead head = HeadOf(batch, row, p, kv_head);
      double score = 0;
      for (int64_t d = 0; d < head_dim; ++d) score += q[d] * head.Key(p % kKvBlock, d);
      scores.push_back(score / std::sqrt(static_cast<double>(head_dim)));
      most = std::max(most, scores.back());
    }
    double denominator = 0;
    std::vector<double> sums(static_cast<size_t>(head_dim));
    for (int64_t p = begin; p < end; ++p) {
      const KvHead head = HeadOf(batch, row, p, kv_head);
      const double weight = std::exp(scores[static_cast<size_t>(p - begin)] - most);
      denominator += weight;
      for (int64_t d = 0; d < head_dim; ++d)
        sums[static_cast<size_t>(d)] += weight * head.Value(p % kKvBlock, d);
    }
    for (int64_t d = 0; d < head_dim; ++d)
      out[d] = static_cast<float>(sums[static_cast<size_t>(d)] / denominator);
    return most + std::log(denominator);
  }

  ThreadPool threads_{1};
};

}  // namespace

std::unique_ptr<Device> MakeReferenceDevice() { return std::make_unique<ReferenceDevice>(); }

}  // namespace cadre
