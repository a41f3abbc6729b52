#include "plan/predict.h"

#include <gtest/gtest.h>

#include "model/presets.h"
#include "plan/memory.h"
#include "plan/types.h"

namespace cadre {
namespace {

// Mixtral's shapes with weights that are nowhere.
Model Shapes(int64_t layers, DType type) {
  Model model;
  model.config = Preset("mixtral-8x7b");
  model.config.num_layers = layers;
  const ModelConfig& c = model.config;
  const auto matrix = [&](int64_t rows, int64_t cols) {
    return Weight{.type = type, .rows = rows, .cols = cols};
  };
  model.weights.embedding = matrix(c.vocab_size, c.dim);
  model.weights.head = matrix(c.vocab_size, c.dim);
  LayerWeights layer;
  layer.wq = layer.wo = matrix(c.dim, c.dim);
  layer.wk = layer.wv = matrix(c.kv_dim(), c.dim);
  layer.router = {.type = DType::kF32, .rows = 8, .cols = c.dim};
  layer.experts.assign(
      8, {matrix(c.hidden_dim, c.dim), matrix(c.dim, c.hidden_dim), matrix(c.hidden_dim, c.dim)});
  model.weights.layers.assign(static_cast<size_t>(layers), layer);
  return model;
}

// 20 GB/s of stored bytes for one token, 500 GOP/s for many; the disk 1 GB/s.
Machine FixedMachine() {
  Machine machine;
  machine.threads = 2;
  for (const auto& info : AllDTypes()) {
    const double one = static_cast<double>(1000 * RowBytes(info.type, 4096)) / 20e9;
    machine.products.Add({info.type, 1000, 4096, 1, one});
    machine.products.Add({info.type, 1000, 4096, 100, one + 2.0 * 1000 * 4096 * 99 / 500e9});
    machine.pack_bytes_per_s[info.type] = 2e9;
  }
  machine.disk = {.needed = 1e9, .guessed = .8e9};
  return machine;
}

MemoryPlan Slots(int64_t slots, int64_t all) {
  MemoryPlan plan;
  plan.budget = slots < all ? 1 : 0;
  plan.slots = slots;
  plan.costs.num_experts = all;
  return plan;
}

Prediction Of(const Model& model, int64_t slots, const RunShape& run = {}) {
  const auto routing = ReadRouting({}, model.config, 1);
  return Predict(model, FixedMachine(), run, Slots(slots, model.config.num_layers * 8), routing,
                 CachePolicy::kFrequency, 1);
}

TEST(Predict, ResidentModelsGenerateAsFastAsTheirBytesAreRead) {
  const Model model = Shapes(4, DType::kQ4_0);
  const auto p = Of(model, 32);
  // Attention 41.9 M, two experts of 176 M weights, a head of 131 M, at 4.5 bits.
  const double weights = 4 * (41.9e6 + 2 * 176.2e6) + 131.1e6;
  EXPECT_NEAR(p.bytes_per_step, weights * 4.5 / 8, 2e6);
  EXPECT_NEAR(p.generate_tokens_per_s, 20e9 / p.bytes_per_step, .02 * p.generate_tokens_per_s);
  EXPECT_FALSE(p.hit_rate.has_value());
  // A prompt is bound by products: 3 layers whole, the last one's experts for one token.
  const double operations = 2 * 512 * (4 * 41.9e6 + 3 * 2 * 176.2e6);
  EXPECT_GT(p.prompt_tokens_per_s, .7 * 512 / (operations / 500e9));
  EXPECT_LT(p.prompt_tokens_per_s, 1.02 * 512 / (operations / 500e9));
}

TEST(Predict, FetchedModelsWaitForTheDisk) {
  const Model model = Shapes(4, DType::kQ4_0);
  const auto none = Of(model, 1), some = Of(model, 15), most = Of(model, 28), all = Of(model, 32);
  EXPECT_LT(none.generate_tokens_per_s, some.generate_tokens_per_s);
  EXPECT_LT(some.generate_tokens_per_s, most.generate_tokens_per_s);
  EXPECT_LT(most.generate_tokens_per_s, all.generate_tokens_per_s);
  // Eight experts of 99 MB a token at 1 GB/s, and what is computed between.
  EXPECT_NEAR(*none.hit_rate, 0, .01);
  EXPECT_NEAR(none.generate_tokens_per_s, 1 / (8 * .0991 + 1 / all.generate_tokens_per_s), .03);
  EXPECT_GT(none.waiting_share, .8);
  EXPECT_NEAR(*some.hit_rate, 15.0 / 32, .1);
  EXPECT_NEAR(some.disk_bytes_per_token, 8 * (1 - *some.hit_rate) * 99.1e6, 2e7);
  // The first prompt reads all experts of three layers and two of the last.
  EXPECT_GT(some.first_token_s, 26 * .0991);
}

TEST(Predict, SequencesSideBySideShareWhatIsRead) {
  const Model model = Shapes(4, DType::kQ4_0);
  const auto one = Of(model, 32), four = Of(model, 32, {.batch = 4});
  EXPECT_GT(four.generate_tokens_per_s, 1.2 * one.generate_tokens_per_s);
  EXPECT_LT(four.generate_tokens_per_s, 4 * one.generate_tokens_per_s);
}

TEST(Predict, SlowPackingBindsBeforeTheDisk) {
  const Model model = Shapes(2, DType::kQ4_0);
  Machine slow = FixedMachine();
  slow.pack_bytes_per_s[DType::kQ4_0] = .5e9;
  const auto routing = ReadRouting({}, model.config, 1);
  const auto p = Predict(model, slow, {}, Slots(1, 16), routing, CachePolicy::kLru, 1);
  EXPECT_LT(p.generate_tokens_per_s, .6 * Of(model, 1).generate_tokens_per_s);
}

TEST(CompareTypes, ChoosesTheBestThatIsFastEnough) {
  const Model model = Shapes(32, DType::kBF16);
  const auto reference = MakeReferenceDevice();
  const auto routing = ReadRouting({}, model.config, 1);
  const auto types_with = [&](int64_t budget) {
    return CompareTypes(model, [&](const Model& other) {
      const MemoryPlan plan = PlanFor(other, *reference, 2, {.most_pages = 4},
                                      {.budget = budget, .form = KeptForm::kStored});
      return std::pair(plan, Predict(other, FixedMachine(), {.prompt = 64, .generate = 8}, plan,
                                     routing, CachePolicy::kFrequency, 1));
    });
  };
  const auto small = types_with(24'000'000'000);
  ASSERT_EQ(small.size(), AllMixes().size());
  EXPECT_EQ(small.front().name, "Q8_0");
  EXPECT_EQ(small.back().name, "Q2_K");
  // Published sizes of Mixtral 8x7B, GB: Q2_K 17.3, Q4_K_M 28.4, Q8_0 49.6.
  EXPECT_NEAR(small.back().stored_bytes, 17.3e9, .1e9);
  EXPECT_NEAR(small.front().stored_bytes, 49.6e9, .1e9);
  // Where more than some experts are fetched, a token waits for the disk longer than it computes.
  const TypeOutlook* best = BestType(small);
  ASSERT_NE(best, nullptr);
  EXPECT_GT(best->memory->slots, 248);
  EXPECT_EQ(best->name.substr(0, 3), "Q3_");
  EXPECT_EQ(BestType(types_with(64'000'000'000))->name, "Q5_K_M");
  EXPECT_EQ(BestType(types_with(100'000'000)), nullptr);
}

TEST(MixOf, KnowsItsOwn) {
  const Model model = Shapes(4, DType::kBF16);
  EXPECT_EQ(MixOf(model), nullptr);
  for (const Mix& mix : AllMixes()) {
    const Mix* found = MixOf(InMix(model, mix));
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->base, mix.base);
  }
}

}  // namespace
}  // namespace cadre
