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
    const auto& of_layer = logits[static_cast<size_t>(l)];
    std::copy(of_layer.begin(), of_layer.end(), activations.layer(l).router_logits.data);
    ChooseExperts(activations.layer(l).router_logits, config.router, {}, routing);
    PlanDispatch(routing, config.router, activations.layer(l).plan);
  }
}

RouterLosses Losses(const Logits& logits, const ModelConfig& config, Activations& activations,
                    const RouterLossConfig& losses, std::span<const uint8_t> mask = {}) {
  Route(logits, config, activations);
  return ComputeRouterLosses(activations, config, losses, mask);
}

RouterLosses Balance(const Logits& logits, const ModelConfig& config, Activations& activations,
                     BalanceScope scope, BalanceForm form = BalanceForm::kAllChoices) {
  return Losses(logits, config, activations, {.balance_form = form, .balance_scope = scope});
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
    const RouterLosses loss = Balance(logits, config, activations, scope);
    EXPECT_NEAR(loss.balance, 2, 1e-6);
    EXPECT_EQ(loss.rows, 8);
    EXPECT_EQ(loss.f, std::vector<double>(8, 0.5));
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
    const RouterLosses loss = Balance(logits, config, activations, scope);
    EXPECT_NEAR(loss.balance, 4, 1e-6);
    EXPECT_EQ(loss.f, (std::vector<double>{0, 0, 1, 0, 0, 0, 1, 0}));
  }
}

TEST(BalanceLoss, SeesAnImbalanceThatLayersCancelOnlyWhenTakenPerLayer) {
  ModelConfig config = Config();
  config.router = {.num_experts = 2, .top_k = 1};
  // One layer sends everything to expert 0, the other to expert 1.
  const Logits logits = {{50, 0, 50, 0}, {0, 50, 0, 50}};
  Activations activations(config, Activations::Keep::kEveryLayer);
  const RouterLosses model = Balance(logits, config, activations, BalanceScope::kModel);
  EXPECT_NEAR(model.balance, 1, 1e-6);
  EXPECT_EQ(model.f, std::vector<double>(4, 0.5));
  const RouterLosses layer = Balance(logits, config, activations, BalanceScope::kLayer);
  EXPECT_NEAR(layer.balance, 2, 1e-6);
  EXPECT_EQ(layer.f, (std::vector<double>{1, 0, 0, 1}));
  EXPECT_EQ(layer.layer_load, model.layer_load);
}

TEST(BalanceLoss, CountsFirstChoicesAsSwitchAndGshardDo) {
  const ModelConfig config = Config();
  // First choices 0 0 1, second ones 1 2 0; probabilities as the logits have them.
  const std::vector<float> layer = {3, 2, 0, 0, 3, 0, 2, 0, 2, 3, 0, 0};
  Activations activations(config, Activations::Keep::kEveryLayer);
  const Logits logits = {layer, layer};
  const RouterLosses loss =
      Balance(logits, config, activations, BalanceScope::kLayer, BalanceForm::kFirstChoice);
  double expected = 0;
  const double f[] = {2.0 / 3, 1.0 / 3, 0, 0};
  for (int64_t t = 0; t < 3; ++t) {
    for (int e = 0; e < 4; ++e)
      expected += 4 * f[e] * static_cast<double>(activations.layer(0).routing.probs.row(t)[e]) / 3;
  }
  EXPECT_NEAR(loss.balance, expected, 1e-12);
  EXPECT_NEAR(loss.layer_load[0], 1, 1e-12);  // all choices, whatever the form
  const RouterLosses gshard =
      Balance(logits, config, activations, BalanceScope::kLayer, BalanceForm::kGshard);
  EXPECT_NEAR(gshard.balance, expected / 16, 1e-12);
}

TEST(RouterLosses, AreZeroWhereNoRowCounts) {
  const ModelConfig config = Config();
  Activations activations(config, Activations::Keep::kEveryLayer);
  const std::vector<uint8_t> none(3, 0);
  const RouterLossConfig all = {
      .balance_coefficient = 1, .importance_coefficient = 1, .z_coefficient = 1};
  const RouterLosses losses = Losses(RandomLogits(config, 3), config, activations, all, none);
  EXPECT_EQ(losses.total, 0);
  EXPECT_EQ(losses.rows, 0);
  std::vector<float> d(12, 0), d_gates(6, 0);
  AddBalanceGradient(losses, 0, activations.layer(0).routing, {d.data(), 3, 4});
  AddZGradient(losses, activations.layer(0), {d.data(), 3, 4});
  AddImportanceGradient(losses, 0, activations.layer(0).routing, {d_gates.data(), 3, 2});
  EXPECT_EQ(d, std::vector<float>(12, 0));
  EXPECT_EQ(d_gates, std::vector<float>(6, 0));
}

TEST(RouterLosses, LeaveMaskedRowsOut) {
  const ModelConfig config = Config();
  const Logits all = RandomLogits(config, 5);
  Logits kept = all;
  for (auto& layer : kept) layer.erase(layer.begin() + 8, layer.begin() + 12);  // row 2
  const std::vector<uint8_t> mask = {1, 1, 0, 1, 1};
  const RouterLossConfig every = {
      .balance_coefficient = 1, .importance_coefficient = 2, .z_coefficient = 3};
  Activations activations(config, Activations::Keep::kEveryLayer);
  const double expected = Losses(kept, config, activations, every).total;
  const RouterLosses losses = Losses(all, config, activations, every, mask);
  EXPECT_NEAR(losses.total, expected, 1e-12);
  std::vector<float> d(20, 0);
  AddBalanceGradient(losses, 0, activations.layer(0).routing, {d.data(), 5, 4});
  AddZGradient(losses, activations.layer(0), {d.data(), 5, 4});
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(d[i] != 0, i < 8 || i >= 12) << i;
}

TEST(RouterLosses, KnowTheirReferenceValues) {
  ModelConfig config = Config();
  config.router = {.num_experts = 8, .top_k = 2};
  config.num_layers = 1;
  Activations activations(config, Activations::Keep::kEveryLayer);
  const Logits zeros(1, std::vector<float>(24, 0));
  const RouterLosses losses =
      Losses(zeros, config, activations, {.importance_coefficient = 1, .z_coefficient = 1});
  EXPECT_NEAR(losses.z, std::log(8.0) * std::log(8.0), 1e-6);
  // Ties go to experts 0 and 1, half a gate each: CV^2 = E / 2 - 1.
  EXPECT_NEAR(losses.importance, 3, 1e-6);
}

TEST(RouterLosses, CountWhatFoundItsExpertFull) {
  ModelConfig config = Config(RouterSoftmax::kAll);
  config.router.top_k = 1;
  config.router.capacity_factor = 1;  // one row per expert
  Activations activations(config, Activations::Keep::kEveryLayer);
  const std::vector<float> one = {5, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0, 0};
  const std::vector<float> even = {5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5};
  const RouterLosses losses = Losses({one, even}, config, activations, {});
  EXPECT_EQ(losses.drop_rate, (std::vector<double>{0.5, 0}));
  EXPECT_EQ(losses.layer_load, (std::vector<double>{0.75, 0.25, 0, 0, 0.25, 0.25, 0.25, 0.25}));
}

// Each loss alone, and all of them; the load loss is in load_loss_test.
struct LossCase {
  const char* name;
  RouterLossConfig losses;
  RouterSoftmax softmax = RouterSoftmax::kChosen;
};

class LossGradient : public ::testing::TestWithParam<LossCase> {};

TEST_P(LossGradient, IsTheSlopeOfTheLoss) {
  const ModelConfig config = Config(GetParam().softmax);
  const RouterLossConfig& settings = GetParam().losses;
  const Logits logits = RandomLogits(config, 3);
  const std::vector<uint8_t> mask = {1, 0, 1};
  Activations activations(config, Activations::Keep::kEveryLayer);
  for (const bool masked : {false, true}) {
    const auto counted = masked ? std::span<const uint8_t>(mask) : std::span<const uint8_t>();
    const RouterLosses losses = Losses(logits, config, activations, settings, counted);
    EXPECT_GT(losses.total, 0);
    for (size_t l = 0; l < 2; ++l) {
      std::vector<float> d_logits(12, 1.0f);  // added to what is there
      std::vector<float> d_gates(6, 0.0f);
      const auto layer = static_cast<int64_t>(l);
      const LayerActivations& a = activations.layer(layer);
      const Mat<float> d(d_logits.data(), 3, 4);
      AddImportanceGradient(losses, layer, a.routing, {d_gates.data(), 3, 2});
      AddGateGradient(a.routing, config.router.softmax, {d_gates.data(), 3, 2}, d);
      AddBalanceGradient(losses, layer, a.routing, d);
      AddZGradient(losses, a, d);
      Activations others(config, Activations::Keep::kEveryLayer);
      const auto slopes = CentralDifferences(logits, l, [&](const Logits& x) {
        return Losses(x, config, others, settings, counted).total;
      });
      for (size_t i = 0; i < 12; ++i)
        EXPECT_NEAR(d_logits[i], 1 + slopes[i], kTolerance) << l << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Losses, LossGradient,
    ::testing::Values(
        LossCase{"Balance", {.balance_coefficient = 0.5}},
        LossCase{"BalanceOverModel",
                 {.balance_coefficient = 0.5, .balance_scope = BalanceScope::kModel}},
        LossCase{"Switch", {.balance_coefficient = 0.5, .balance_form = BalanceForm::kFirstChoice}},
        LossCase{"Gshard", {.balance_coefficient = 8, .balance_form = BalanceForm::kGshard}},
        LossCase{"Importance", {.importance_coefficient = 0.5}},
        LossCase{"ImportanceOverAll", {.importance_coefficient = 0.5}, RouterSoftmax::kAll},
        LossCase{"Z", {.z_coefficient = 0.2}},
        LossCase{"All",
                 {.balance_coefficient = 0.3, .importance_coefficient = 0.2, .z_coefficient = 0.1},
                 RouterSoftmax::kAll}),
    [](const auto& test) { return test.param.name; });

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
