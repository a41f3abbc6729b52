#include "train/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "model/testing.h"

namespace cadre {
namespace {

ModelConfig Config(RouterSoftmax softmax = RouterSoftmax::kChosen) {
  ModelConfig config = model_testing::TinyConfig();
  config.router.softmax = softmax;
  return config;
}

// [layers][tokens * experts]
using Logits = std::vector<std::vector<float>>;

Logits RandomLogits(const ModelConfig& config, int64_t tokens) {
  Random random(9);
  Logits logits(static_cast<size_t>(config.num_layers));
  for (auto& layer : logits) {
    for (int64_t i = 0; i < tokens * config.router.num_experts; ++i)
      layer.push_back(static_cast<float>(random.NextNormal()));
  }
  return logits;
}

void Route(const Logits& logits, const ModelConfig& config, Activations& activations) {
  const int64_t experts = config.router.num_experts;
  activations.SetTokens(static_cast<int64_t>(logits[0].size()) / experts);
  for (int64_t l = 0; l < config.num_layers; ++l) {
    Routing& routing = activations.layer(l).routing;
    ChooseExperts({logits[static_cast<size_t>(l)].data(), routing.probs.rows, experts},
                  config.router, {}, routing);
  }
}

BalanceLoss Balance(const Logits& logits, const ModelConfig& config, Activations& activations,
                    BalanceScope scope) {
  Route(logits, config, activations);
  return ComputeBalanceLoss(activations, config, scope);
}

constexpr BalanceScope kScopes[] = {BalanceScope::kLayer, BalanceScope::kModel};

// (f(x + h) - f(x - h)) / 2h in each element of one layer's logits. Values are rounded to float32
// on the way (6e-8), so h = 5e-3 leaves an error of some 1e-5 of rounding and of h^2.
std::vector<double> CentralDifferences(Logits logits, size_t layer,
                                       const std::function<double(const Logits&)>& f) {
  constexpr float kH = 5e-3f;
  std::vector<double> differences;
  for (float& x : logits[layer]) {
    const float kept = x;
    x = kept + kH;
    const double up = f(logits), width_up = x;
    x = kept - kH;
    const double down = f(logits), width_down = x;
    x = kept;
    differences.push_back((up - down) / (width_up - width_down));
  }
  return differences;
}
constexpr double kTolerance = 5e-5;

TEST(BalanceLoss, IsTheNumberOfChoicesWhenBalanced) {
  const ModelConfig config = Config();
  // Every expert is first once and second once, with the same probabilities in turn.
  Logits logits(2);
  for (auto& layer : logits) {
    for (int t = 0; t < 4; ++t) {
      for (int e = 0; e < 4; ++e)
        layer.push_back(static_cast<float>((e - t + 4) % 4 == 0   ? 2
                                           : (e - t + 4) % 4 == 1 ? 1
                                                                  : 0));
    }
  }
  Activations activations(config, Activations::Keep::kEveryLayer);
  for (const BalanceScope scope : kScopes) {
    const BalanceLoss loss = Balance(logits, config, activations, scope);
    EXPECT_NEAR(loss.value, 2, 1e-6);
    EXPECT_EQ(loss.rows, 8);
    EXPECT_EQ(loss.load, std::vector<double>(8, 0.5));
    EXPECT_EQ(loss.layer_load, std::vector<double>(8, 0.5));
  }
}

TEST(BalanceLoss, IsTheNumberOfExpertsWhenOneTakesAll) {
  ModelConfig config = Config();
  config.router.top_k = 1;
  Logits logits(2);
  for (auto& layer : logits) {
    for (int t = 0; t < 5; ++t) layer.insert(layer.end(), {0, 0, 80, 0});
  }
  Activations activations(config, Activations::Keep::kEveryLayer);
  for (const BalanceScope scope : kScopes) {
    const BalanceLoss loss = Balance(logits, config, activations, scope);
    EXPECT_NEAR(loss.value, 4, 1e-6);
    EXPECT_EQ(loss.load, (std::vector<double>{0, 0, 1, 0, 0, 0, 1, 0}));
  }
}

TEST(BalanceLoss, SeesAnImbalanceThatLayersCancelOnlyWhenTakenPerLayer) {
  ModelConfig config = Config();
  config.router = {.num_experts = 2, .top_k = 1};
  // One layer sends everything to expert 0, the other to expert 1.
  const Logits logits = {{50, 0, 50, 0}, {0, 50, 0, 50}};
  Activations activations(config, Activations::Keep::kEveryLayer);
  const BalanceLoss model = Balance(logits, config, activations, BalanceScope::kModel);
  EXPECT_NEAR(model.value, 1, 1e-6);
  EXPECT_EQ(model.load, std::vector<double>(4, 0.5));
  const BalanceLoss layer = Balance(logits, config, activations, BalanceScope::kLayer);
  EXPECT_NEAR(layer.value, 2, 1e-6);
  EXPECT_EQ(layer.load, (std::vector<double>{1, 0, 0, 1}));
  EXPECT_EQ(layer.layer_load, model.layer_load);
}

class BalanceGradient : public ::testing::TestWithParam<BalanceScope> {};

TEST_P(BalanceGradient, IsTheSlopeOfTheLoss) {
  const ModelConfig config = Config();
  const Logits logits = RandomLogits(config, 3);
  Activations activations(config, Activations::Keep::kEveryLayer);
  const BalanceLoss loss = Balance(logits, config, activations, GetParam());
  for (size_t l = 0; l < 2; ++l) {
    std::vector<float> d_logits(12, 1.0f);  // added to what is there
    const auto layer = static_cast<int64_t>(l);
    AddBalanceGradient(loss, 0.5, layer, activations.layer(layer).routing, {d_logits.data(), 3, 4});
    Activations others(config, Activations::Keep::kEveryLayer);
    const auto slopes = CentralDifferences(logits, l, [&](const Logits& x) {
      return 0.5 * Balance(x, config, others, GetParam()).value;
    });
    for (size_t i = 0; i < 12; ++i)
      EXPECT_NEAR(d_logits[i], 1 + slopes[i], kTolerance) << l << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Scopes, BalanceGradient, ::testing::ValuesIn(kScopes));

class GateGradient : public ::testing::TestWithParam<RouterSoftmax> {};

TEST_P(GateGradient, IsTheSlopeOfTheGates) {
  const ModelConfig config = Config(GetParam());
  const Logits logits = RandomLogits(config, 5);
  std::vector<float> d_gates;
  Random random(4);
  for (int i = 0; i < 10; ++i) d_gates.push_back(static_cast<float>(random.NextNormal()));
  Activations activations(config, Activations::Keep::kEveryLayer);
  const auto weighted_gates = [&](const Logits& x) {
    Route(x, config, activations);
    const Routing& routing = activations.layer(0).routing;
    double sum = 0;
    for (size_t i = 0; i < 10; ++i)
      sum += static_cast<double>(routing.gates.data[i]) * static_cast<double>(d_gates[i]);
    return sum;
  };
  const auto slopes = CentralDifferences(logits, 0, weighted_gates);
  Route(logits, config, activations);
  std::vector<float> d_logits(20, 1.0f);
  AddGateGradient(activations.layer(0).routing, GetParam(), {d_gates.data(), 5, 2},
                  {d_logits.data(), 5, 4});
  for (size_t i = 0; i < 20; ++i) EXPECT_NEAR(d_logits[i], 1 + slopes[i], kTolerance) << i;
}

INSTANTIATE_TEST_SUITE_P(Both, GateGradient,
                         ::testing::Values(RouterSoftmax::kChosen, RouterSoftmax::kAll),
                         [](const auto& test) {
                           return test.param == RouterSoftmax::kAll ? "OverAll" : "OverChosen";
                         });

TEST(AddGateGradient, PassesUnusedChoicesOver) {
  const ModelConfig config = Config();
  const std::vector<float> logits = {3, 1, 2, 0};
  const std::vector<int32_t> one = {1};
  Routing routing;
  routing.Reserve(1, config.router);
  routing.SetTokens(1, config.router);
  ChooseExperts({logits.data(), 1, 4}, config.router, {.top_k = one, .rows = {}}, routing);
  const std::vector<float> d_gates = {5, 7};
  std::vector<float> d_logits(4, 0);
  AddGateGradient(routing, RouterSoftmax::kChosen, {d_gates.data(), 1, 2}, {d_logits.data(), 1, 4});
  EXPECT_EQ(d_logits, std::vector<float>(4, 0));  // the only gate is 1, whatever the logits
}

}  // namespace
}  // namespace cadre
