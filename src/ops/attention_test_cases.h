// Attention and the cache, as every Device must keep them: pages equal to the reference's byte for
// byte, sums within a derived bound, and the same bits whether rows come one by one or together.
// Slots that no row wrote hold NaN.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/device_test_cases.h"

namespace cadre {

// Sequences of given lengths with queries, keys and values for every position.
struct KvCase {
  KvShape shape;
  int64_t num_heads, window;
  std::vector<int32_t> sequence_of_row;
  std::vector<int64_t> positions;
  std::vector<float> q, k, v;  // [rows, heads * head_dim]
  std::vector<int64_t> lengths;

  KvCase(KvType type, int64_t num_kv_heads, int64_t shared, int64_t head_dim, int64_t window_,
         std::vector<int64_t> lengths_)
      : shape{type, 2, num_kv_heads, head_dim},
        num_heads(num_kv_heads * shared),
        window(window_),
        lengths(std::move(lengths_)) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      for (int64_t p = 0; p < lengths[s]; ++p) {
        sequence_of_row.push_back(static_cast<int32_t>(s));
        positions.push_back(p);
      }
    }
    q = NormalValues(rows() * q_cols(), 71, 2);
    k = NormalValues(rows() * kv_cols(), 72);
    v = NormalValues(rows() * kv_cols(), 73);
  }

  int64_t rows() const { return std::ssize(positions); }
  int64_t q_cols() const { return num_heads * shape.head_dim; }
  int64_t kv_cols() const { return shape.num_kv_heads * shape.head_dim; }
};

// What a device made of a case, taken `chunk` rows at a time.
struct KvRun {
  std::vector<Buffer<std::byte>> storage;
  std::vector<std::vector<std::byte*>> pages;
  std::vector<KvSequence> sequences;
  std::vector<float> out, lse;

  KvRun(Device& device, const KvCase& c, int64_t chunk)
      : out(c.q.size()), lse(static_cast<size_t>(c.rows() * c.num_heads)) {
    for (const int64_t length : c.lengths) {
      auto& list = pages.emplace_back();
      for (int64_t begin = 0; begin < length; begin += kKvBlock) {
        storage.emplace_back(c.shape.page_bytes());
        std::memset(storage.back().data(), 0xff, static_cast<size_t>(c.shape.page_bytes()));
        list.push_back(storage.back().data());
      }
    }
    for (const auto& list : pages) sequences.push_back({list});
    for (int64_t begin = 0; begin < c.rows(); begin += chunk)
      Step(device, c, begin, std::min(chunk, c.rows() - begin));
  }

  void Step(Device& device, const KvCase& c, int64_t begin, int64_t count) {
    const auto first = static_cast<size_t>(begin);
    const auto size = static_cast<size_t>(count);
    const KvBatch batch = {c.shape, 1, sequences, std::span(c.sequence_of_row).subspan(first, size),
                           std::span(c.positions).subspan(first, size)};
    device.StoreKv(Mat<const float>(c.k.data(), c.rows(), c.kv_cols()).Rows(begin, begin + count),
                   Mat<const float>(c.v.data(), c.rows(), c.kv_cols()).Rows(begin, begin + count),
                   batch);
    device.Attention(Mat<const float>(c.q.data(), c.rows(), c.q_cols()).Rows(begin, begin + count),
                     c.num_heads, c.window, batch,
                     View(out, c.rows(), c.q_cols()).Rows(begin, begin + count),
                     View(lse, c.rows(), c.num_heads).Rows(begin, begin + count));
  }

  bool SamePages(const KvRun& other) const {
    return std::equal(
        storage.begin(), storage.end(), other.storage.begin(), other.storage.end(),
        [](const auto& a, const auto& b) { return std::ranges::equal(a.span(), b.span()); });
  }
};

// With S a bound of all scores' magnitudes: a score errs by Gamma(D + 4) S; its difference to the
// block's maximum, and each of the B block maxima's to the running one, by 2 S u; each e^x by 4u;
// the sums over n keys by Gamma(n + 2B). That holds for the numerator, relative to sum p |v|, and
// for the denominator. e^x that goes below the normal numbers loses 1.2e-38.
inline void CheckAttention(Device& device, const KvCase& c) {
  KvRun got(device, c, c.rows());
  const auto reference = MakeReferenceDevice();
  KvRun expected(*reference, c, c.rows());
  const std::string what = "kv type " + std::to_string(static_cast<int>(c.shape.type));
  EXPECT_TRUE(got.SamePages(expected)) << what;
  const auto most = [](const std::vector<float>& values) {
    double result = 0;
    for (const float value : values)
      result = std::max(result, static_cast<double>(std::abs(value)));
    return 1.01 * result;  // rounding to the cache's type may go up
  };
  const double most_k = most(c.k), most_v = most(c.v);
  std::vector<double> out_bound, lse_bound;
  for (int64_t t = 0; t < c.rows(); ++t) {
    const int64_t keys = c.positions[static_cast<size_t>(t)] + 1;
    const int64_t blocks = keys / kKvBlock + 1;
    for (int64_t h = 0; h < c.num_heads; ++h) {
      double score = 0;
      for (int64_t d = 0; d < c.shape.head_dim; ++d) {
        score +=
            std::abs(c.q[static_cast<size_t>(t * c.q_cols() + h * c.shape.head_dim + d)]) * most_k;
      }
      score /= std::sqrt(static_cast<double>(c.shape.head_dim));
      const auto steps = static_cast<double>(blocks + 1);
      const double relative = Gamma(c.shape.head_dim + 4) * score + steps * (2 * score + 4) * kU +
                              Gamma(keys + 2 * blocks);
      const double one_out =
          (2 * relative + Gamma(3)) * most_v + 1.2e-38 * static_cast<double>(keys) * most_v;
      for (int64_t d = 0; d < c.shape.head_dim; ++d) out_bound.push_back(one_out);
      const double log_value = std::abs(expected.lse[static_cast<size_t>(t * c.num_heads + h)]);
      lse_bound.push_back(relative + 4 * kU * (log_value + score + 10));
    }
  }
  ExpectWithin(got.out, expected.out, out_bound, "attention, " + what);
  ExpectWithin(got.lse, expected.lse, lse_bound, "lse, " + what);
}

// Prompts at once, rows one by one, or chunks that end inside a block: the same pages, sums and
// logarithms, by ==.
inline void CheckDecodeEqualsPrefill(Device& device, const KvCase& c) {
  const KvRun together(device, c, c.rows());
  for (const int64_t chunk : {1, 100}) {
    const KvRun apart(device, c, chunk);
    EXPECT_TRUE(together.SamePages(apart));
    EXPECT_EQ(together.out, apart.out) << "chunks of " << chunk;
    EXPECT_EQ(together.lse, apart.lse) << "chunks of " << chunk;
  }
}

}  // namespace cadre
