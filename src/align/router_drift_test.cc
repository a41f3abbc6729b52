#include "align/router_drift.h"

#include <gtest/gtest.h>

#include "align/testing.h"
#include "base/json.h"

namespace cadre {
namespace {

using align_testing::ChatSample;
using align_testing::SmallRun;

TEST(DriftRows, AreFewerTheMoreARowCosts) {
  ModelConfig config = SmallRun::Config();
  EXPECT_EQ(DriftRows(config), 8192);
  config.dim = 4096;
  config.hidden_dim = 14336;
  config.router.num_experts = 8;
  config.num_layers = 4;  // 1.6 billion products
  const int64_t rows = DriftRows(config);
  EXPECT_GT(rows, 2000);
  EXPECT_LT(rows, 4000);
  config.num_layers = 320;
  EXPECT_EQ(DriftRows(config), 512);
}

TEST(RouterDrift, CountsTokensThatChooseOtherExperts) {
  SmallRun run;
  std::vector<TrainingBatch> batches(1);
  const Sample sample = ChatSample("what of it", "nothing much");
  batches[0].AddSequence(sample.tokens, sample.trained);
  const RouterDrift drift(run.trainer, std::move(batches));
  EXPECT_EQ(drift.Figures(run.trainer)["changed"], 0);
  for (const auto& p : run.trainer.layout().parameters()) {
    if (PartOf(p) != ModelPart::kRouter) continue;  // the last becomes the first
    for (int64_t i = 0; i < p.size(); ++i)
      run.trainer.weights()[static_cast<size_t>(p.offset + i)] *= -1;
  }
  // Of four experts the two best become the two worst: in the first layer, whose input is the same.
  const auto layers = drift.Measure(run.trainer);
  EXPECT_EQ(layers.at(0).changed, 1);
  EXPECT_EQ(layers.at(0).other_choices, 1);
}

}  // namespace
}  // namespace cadre
