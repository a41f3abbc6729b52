#include "quantize/collect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/testing.h"
#include "model/testing.h"
#include "quantize/importance.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using model_testing::RandomArena;
using model_testing::TinyConfig;

const std::vector<int32_t> kIds = {1, 17, 33, 5, 5, 29, 2, 11, 8, 30, 7, 3};

struct Collector {
  explicit Collector(const ModelConfig& config)
      : arena(RandomArena(ParameterLayout(config))),
        model(ParameterLayout(config).Bind(arena.data())),
        experts(model.weights),
        device(MakeReferenceDevice()) {}
  CollectedImportance Collect(std::span<const int32_t> ids, int64_t context, int32_t bos_id = -1) {
    return CollectImportance(model, experts, *device, ids,
                             {.context = context, .bos_id = bos_id, .sequence = kExactPath});
  }
  Buffer<float> arena;
  Model model;
  ResidentExperts experts;
  std::unique_ptr<Device> device;
};

// Every expert in the same place, one after the other, as a source that fetches them may do.
class OnePlace : public ExpertSource {
 public:
  explicit OnePlace(const ModelWeights& weights) : weights_(weights) {}
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override {
    there_ = weights_.layers[static_cast<size_t>(layer)].experts[static_cast<size_t>(expert)];
    memory_.Resize(there_.w1.bytes() + there_.w2.bytes() + there_.w3.bytes());
    std::byte* to = memory_.data();
    for (Weight* w : {&there_.w1, &there_.w2, &there_.w3}) {
      std::memcpy(to, w->data, static_cast<size_t>(w->bytes()));
      w->data = to;
      to += w->bytes();
    }
    return there_;
  }
  void Release(int64_t, int64_t) override { memory_.Zero(); }

 private:
  const ModelWeights& weights_;
  ExpertWeights there_;
  Buffer<std::byte> memory_;
};

// What layer 0's attention is multiplied with needs no forward pass to know.
std::vector<double> SquaresOfFirstInputs(const Model& model, std::span<const int32_t> ids) {
  const auto& norm = model.weights.layers[0].attn_norm;
  const auto dim = static_cast<size_t>(model.config.dim);
  std::vector<double> sums(dim);
  for (const int32_t id : ids) {
    const auto* x = reinterpret_cast<const float*>(model.weights.embedding.row(id));
    double squares = 0;
    for (size_t i = 0; i < dim; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double scale =
        1 / std::sqrt(squares / static_cast<double>(dim) + model.config.rms_norm_eps);
    for (size_t i = 0; i < dim; ++i) sums[i] += std::pow(x[i] * scale * norm[i], 2);
  }
  return sums;
}

TEST(CollectImportance, SumsTheSquaresOfInputs) {
  Collector run(TinyConfig());
  const auto collected = run.Collect(kIds, 12);
  const auto& entry = collected.matrix.entries.at("blk.0.attn_k.weight");
  const auto expected = SquaresOfFirstInputs(run.model, kIds);
  ASSERT_EQ(entry.sums.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(entry.sums[i], expected[i], 1e-5 * expected[i]);
  EXPECT_EQ(entry.counts, std::vector<float>{12});
  EXPECT_EQ(collected.tokens, 12);
}

TEST(CollectImportance, KnowsExpertsThatAreFetched) {
  Collector run(TinyConfig());
  OnePlace fetched(run.model.weights);
  const auto expected = run.Collect(kIds, 12);
  const auto collected = CollectImportance(run.model, fetched, *run.device, kIds,
                                           {.context = 12, .sequence = kExactPath});
  EXPECT_EQ(collected.routed, expected.routed);
  for (const auto& [name, entry] : expected.matrix.entries) {
    EXPECT_EQ(collected.matrix.entries.at(name).sums, entry.sums) << name;
    EXPECT_EQ(collected.matrix.entries.at(name).counts, entry.counts) << name;
  }
}

TEST(CollectImportance, WindowsAreApartAndBeginWithBos) {
  Collector run(TinyConfig());
  const auto collected = run.Collect(kIds, 5, 1);
  EXPECT_EQ(collected.tokens, 10);  // two windows; the rest is left out
  EXPECT_EQ(collected.matrix.num_chunks, 2u);
  EXPECT_EQ(collected.matrix.chunk_tokens, 5u);
  const std::vector<int32_t> seen = {1, 17, 33, 5, 5, 1, 2, 11, 8, 30};
  const auto expected = SquaresOfFirstInputs(run.model, seen);
  const auto& entry = collected.matrix.entries.at("blk.0.attn_q.weight");
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(entry.sums[i], expected[i], 1e-5 * expected[i]);
  // One window after another is the sum of each alone.
  const auto first = run.Collect(std::span(seen).first(5), 5);
  const auto second = run.Collect(std::span(seen).subspan(5), 5);
  for (const auto& [name, sums] : collected.matrix.entries) {
    for (size_t i = 0; i < sums.sums.size(); ++i) {
      const double both = static_cast<double>(first.matrix.entries.at(name).sums[i]) +
                          second.matrix.entries.at(name).sums[i];
      EXPECT_NEAR(sums.sums[i], both, 1e-5 * both) << name;
    }
  }
}

// Every expert's own inputs are counted, in the last layer too: of all rows, not of those alone
// whose logits somebody wants.
TEST(CollectImportance, CountsWhatEachExpertWasGiven) {
  Collector run(TinyConfig());
  const auto collected = run.Collect(kIds, 12);
  std::vector<std::vector<int64_t>> routed(2, std::vector<int64_t>(4));
  const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
    for (int64_t t = 0; t < routing.experts.rows; ++t)
      for (const int32_t e : routing.experts.row_span(t))
        ++routed[static_cast<size_t>(layer)][static_cast<size_t>(e)];
  };
  Sequence sequence(run.model, run.experts, *run.device, kExactPath);
  Buffer<float> logits(12 * run.model.config.vocab_size);
  sequence.Append(kIds, logits.AsMat(12, run.model.config.vocab_size), {.observer = &observer});
  EXPECT_EQ(collected.routed, routed);
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_EQ(std::accumulate(routed[l].begin(), routed[l].end(), int64_t{0}), 24);
    for (const char* matrix : {"gate", "up", "down"}) {
      const auto& entry =
          collected.matrix.entries.at(fmt::format("blk.{}.ffn_{}_exps.weight", l, matrix));
      EXPECT_EQ(std::vector<int64_t>(entry.counts.begin(), entry.counts.end()), routed[l]);
      EXPECT_EQ(entry.sums.size(), 4 * (std::string(matrix) == "down" ? 24u : 16u));
    }
  }
  // Both of a token's experts see the same input, so all experts' sums together are twice the
  // router's.
  const auto& gate = collected.matrix.entries.at("blk.1.ffn_gate_exps.weight").sums;
  const auto& router = collected.matrix.entries.at("blk.1.ffn_gate_inp.weight").sums;
  for (size_t i = 0; i < 16; ++i) {
    const double sum = gate[i] + gate[16 + i] + gate[32 + i] + gate[48 + i];
    EXPECT_NEAR(sum, 2 * router[i], 1e-4 * sum);
  }
}

TEST(CollectImportance, OfADenseModel) {
  ModelConfig config = TinyConfig();
  config.router = {};
  Collector run(config);
  const auto collected = run.Collect(kIds, 12);
  EXPECT_TRUE(collected.routed.empty());
  EXPECT_EQ(collected.NumNeverHit(), 0);
  EXPECT_EQ(collected.matrix.entries.at("blk.1.ffn_down.weight").sums.size(), 24u);
  EXPECT_EQ(collected.matrix.entries.count("blk.1.ffn_gate_inp.weight"), 0u);
  EXPECT_TRUE(Importance(run.model, collected.matrix, "f").warnings().empty());
}

TEST(CollectImportance, RefusesIdsOutsideTheVocabulary) {
  Collector run(TinyConfig());
  EXPECT_NE(ErrorOf([&] { run.Collect(std::vector<int32_t>{1, 40}, 2); }), "");
  EXPECT_NE(ErrorOf([&] { run.Collect({}, 2); }), "");
}

TEST(Importance, IsFoundByTheWeight) {
  Collector run(TinyConfig());
  auto matrix = run.Collect(kIds, 12).matrix;
  auto& entry = matrix.entries.at("blk.0.ffn_down_exps.weight");
  entry.counts = {4, 8, 0, 12};
  for (size_t i = 0; i < entry.sums.size(); ++i)
    entry.sums[i] = static_cast<float>(i % 24 + i / 24);
  std::fill_n(entry.sums.begin() + 48, 24, 0.0f);
  const Importance importance(run.model, matrix, "f.imatrix");
  const auto& experts = run.model.weights.layers[0].experts;
  const auto of = importance.Of(experts[1].w2);
  ASSERT_EQ(of.size(), 24u);
  EXPECT_NEAR(std::accumulate(of.begin(), of.end(), 0.0) / 24, 1, 1e-6);
  EXPECT_NEAR(importance.EnergyPerToken(experts[1].w2), 12.5 / 12, 1e-6);
  EXPECT_NEAR(of[7] * importance.EnergyPerToken(experts[1].w2), 8.0 / 12, 1e-5);
  // Column 0 of expert 0 met nothing but zeros: it weighs little, but not nothing.
  EXPECT_GT(importance.Of(experts[0].w2)[0], 0);
  // The third expert was never hit: what it would meet is what the others met, once.
  EXPECT_TRUE(importance.Of(experts[2].w2).empty());
  EXPECT_NEAR(importance.EnergyPerToken(experts[2].w2), (11.5 + 12.5 + 14.5) / 24 / 12, 1e-6);
  EXPECT_TRUE(importance.Of(run.model.weights.embedding).empty());
  EXPECT_NEAR(importance.EnergyPerToken(run.model.weights.embedding), 1 / 40.0, 1e-9);
  EXPECT_FALSE(importance.Of(run.model.weights.head).empty());
}

TEST(Importance, SaysOnceWhatItDoesNotKnow) {
  Collector run(TinyConfig());
  std::vector<int32_t> ids(40);  // every token there is, so that every expert is hit
  std::iota(ids.begin(), ids.end(), 0);
  auto matrix = run.Collect(ids, 40).matrix;
  EXPECT_TRUE(Importance(run.model, matrix, "f").warnings().empty());
  matrix.entries.erase("output.weight");  // llama.cpp leaves these out
  matrix.entries.erase("blk.0.ffn_gate_inp.weight");
  EXPECT_TRUE(Importance(run.model, matrix, "f").warnings().empty());
  for (const char* name : {"gate", "up", "down"}) {
    auto& entry = matrix.entries.at(fmt::format("blk.1.ffn_{}_exps.weight", name));
    const size_t cols = entry.sums.size() / 4;
    std::fill_n(entry.sums.begin() + static_cast<ptrdiff_t>(2 * cols), cols, 0.0f);
    entry.counts[2] = 0;
  }
  matrix.entries.erase("blk.0.attn_v.weight");
  const auto warnings = Importance(run.model, matrix, "f").warnings();
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find("nothing for blk.0.attn_v.weight"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[1].find("never hit 1 of the experts"), std::string::npos) << warnings[1];
  EXPECT_NE(warnings[1].find("layer 1 expert 2"), std::string::npos) << warnings[1];
}

TEST(Importance, OfAnotherModelIsAnError) {
  Collector run(TinyConfig());
  const auto matrix = run.Collect(kIds, 12).matrix;
  const auto error = [&](const ModelConfig& config) {
    Collector other(config);
    return ErrorOf([&] { Importance(other.model, matrix, "f.imatrix"); });
  };
  ModelConfig config = TinyConfig();
  config.hidden_dim = 32;
  EXPECT_NE(error(config).find("f.imatrix: 'blk.0.ffn_down_exps.weight' has 96 sums"),
            std::string::npos)
      << error(config);
  config = TinyConfig();
  config.router.num_experts = 3;
  EXPECT_NE(error(config), "");
  ImportanceMatrix strange;
  strange.entries["v.blk.0.attn_q.weight"] = {{1, 2}, {1}};
  EXPECT_NE(ErrorOf([&] { Importance(run.model, strange, "f"); }).find("nothing for any matrix"),
            std::string::npos);
}

}  // namespace
}  // namespace cadre
