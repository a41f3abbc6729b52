// Contract 1 of ARCHITECTURE.md, with ==: a sequence's logits are the same whether its tokens come
// at once, one by one, in chunks, beside another sequence, or on any number of threads; on each
// device and for weights of each kind.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "tests/devices.h"
#include "tests/random_model.h"
#include "tests/step.h"

namespace cadre {
namespace {

std::vector<int32_t> RandomIds(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random.NextBelow(96)));
  return ids;
}

struct Setting {
  std::string device;
  DType weights;
  KvType kv;
  int64_t window = 0;
};

class Invariance : public testing::TestWithParam<Setting> {
 protected:
  Invariance() : model_(Config(), GetParam().weights) {}
  static ModelConfig Config() {
    ModelConfig config = SmallConfig();
    config.sliding_window = GetParam().window;
    return config;
  }
  StepRunner Runner(Device& device) const {
    return StepRunner(model_.model(), device, GetParam().kv, ActivationType::kRounded,
                      {first_, second_});
  }
  std::vector<float> Prefill(int threads_count) const {
    ThreadPool threads(threads_count);
    const auto device = MakeDevice(GetParam().device, threads);
    StepRunner runner = Runner(*device);
    runner.RunAll(0);
    return runner.logits(0);
  }

  // Longer than a block of the cache, so that merging blocks is tested too.
  std::vector<int32_t> first_ = RandomIds(kKvBlock + 7, 1);
  std::vector<int32_t> second_ = RandomIds(40, 2);
  RandomModel model_;
};

TEST_P(Invariance, HoldsForEveryWayToCutTheWork) {
  const auto prefill = Prefill(2);
  ThreadPool threads(2);
  const auto device = MakeDevice(GetParam().device, threads);

  StepRunner one_by_one = Runner(*device);
  for (size_t i = 0; i < first_.size(); ++i) one_by_one.Step({{0, 1}});
  EXPECT_TRUE(one_by_one.logits(0) == prefill) << "one by one";

  StepRunner chunks = Runner(*device);
  for (int64_t left = static_cast<int64_t>(first_.size()); left > 0; left -= 7)
    chunks.Step({{0, std::min<int64_t>(7, left)}});
  EXPECT_TRUE(chunks.logits(0) == prefill) << "chunks of 7";

  StepRunner batched = Runner(*device);
  batched.Step({{1, 17}, {0, 250}});
  batched.Step({{0, 5}, {1, 1}});
  batched.Step({{1, 22}, {0, static_cast<int64_t>(first_.size()) - 255}});
  EXPECT_TRUE(batched.logits(0) == prefill) << "batched with another sequence";

  EXPECT_TRUE(Prefill(1) == prefill) << "one thread";
  EXPECT_TRUE(Prefill(3) == prefill) << "three threads";
}

std::vector<Setting> Settings() {
  std::vector<Setting> settings;
  for (const auto& device : DeviceNames()) {
    settings.push_back({device, DType::kF32, KvType::kF32});
    if (device == "reference") continue;  // plain loops: one setting shows it, and they are slow
    for (const DType type :
         {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_K, DType::kQ4_0, DType::kQ6_K,
          DType::kQ5_1, DType::kQ3_K, DType::kQ2_K, DType::kIQ4_XS}) {
      settings.push_back({device, type, KvType::kF32});
    }
    settings.push_back({device, DType::kF32, KvType::kF16});
    settings.push_back({device, DType::kF32, KvType::kBF16});
    settings.push_back({device, DType::kF32, KvType::kQ8});
    settings.push_back({device, DType::kF32, KvType::kF32, 100});
  }
  return settings;
}

std::string SettingName(const testing::TestParamInfo<Setting>& info) {
  const std::string kv_names[] = {"F32", "F16", "BF16", "Q8"};
  return fmt::format("{}_{}_kv{}_window{}", info.param.device, Info(info.param.weights).name,
                     kv_names[static_cast<int>(info.param.kv)], info.param.window);
}

INSTANTIATE_TEST_SUITE_P(All, Invariance, testing::ValuesIn(Settings()), SettingName);

// Every device agrees with the reference on whole-model logits. The bound is on the relative root
// mean square: float32 rounding grows like the depth of the sums (dim 256, two layers: well below
// 1e-4), and picks of this seed have no near-ties.
TEST(Devices, AgreeWithTheReferenceOnAWholeModel) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_K}) {
    const RandomModel model(SmallConfig(), type);
    const auto ids = RandomIds(60, 3);
    std::vector<float> expected;
    for (const auto& name : DeviceNames()) {
      ThreadPool threads(2);
      const auto device = MakeDevice(name, threads);
      StepRunner runner(model.model(), *device, KvType::kF32, ActivationType::kRounded, {ids});
      runner.RunAll(0);
      if (expected.empty()) expected = runner.logits(0);
      double difference = 0, norm = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        difference += std::pow(
            static_cast<double>(runner.logits(0)[i]) - static_cast<double>(expected[i]), 2);
        norm += std::pow(static_cast<double>(expected[i]), 2);
      }
      // A value of an activation that rounds the other way moves the whole row by up to one step.
      const bool rounds = type != DType::kF32 && type != DType::kF16;
      const double bound = rounds ? 2e-2 : 1e-4;
      EXPECT_LE(std::sqrt(difference / norm), bound) << name << " " << Info(type).name;
    }
  }
}

}  // namespace
}  // namespace cadre
