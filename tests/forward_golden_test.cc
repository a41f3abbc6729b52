// Logits and routing against PyTorch transformers in float32 (tests/goldens, made by
// tools/make_goldens.py), on every device.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "formats/safetensors.h"
#include "model/load.h"
#include "tests/devices.h"
#include "tests/step.h"

namespace cadre {
namespace {

template <typename T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name, SafetensorsType type) {
  const auto* entry = file.Find(name);
  if (entry == nullptr || entry->type != type) throw std::runtime_error("golden without " + name);
  std::vector<T> values(entry->data.size() / sizeof(T));
  std::memcpy(values.data(), entry->data.data(), entry->data.size());
  return values;
}

struct Case {
  std::string name;
  std::string device;
};

class ForwardGolden : public testing::TestWithParam<Case> {};

std::string ModelPath(const std::string& name) {
  const std::string folder = SourcePath("tests/goldens/" + name);
  return std::filesystem::exists(folder + "/model.gguf") ? folder + "/model.gguf" : folder;
}

void ExpectRouting(const SafetensorsFile& golden, int64_t layer, const Routing& routing) {
  const auto experts = Values<int64_t>(golden, "experts", SafetensorsType::kI64);
  const auto gates = Values<float>(golden, "gates", SafetensorsType::kF32);
  const auto probs = Values<float>(golden, "probs", SafetensorsType::kF32);
  const auto per_layer = static_cast<size_t>(routing.experts.rows * routing.experts.cols);
  for (size_t i = 0; i < per_layer; ++i) {
    const size_t at = static_cast<size_t>(layer) * per_layer + i;
    EXPECT_EQ(routing.experts.data[i], experts[at]) << "layer " << layer << " choice " << i;
    EXPECT_NEAR(routing.gates.data[i], gates[at], 2e-4) << "layer " << layer << " choice " << i;
  }
  const auto per_layer_probs = static_cast<size_t>(routing.probs.rows * routing.probs.cols);
  for (size_t i = 0; i < per_layer_probs; ++i) {
    EXPECT_NEAR(routing.probs.data[i], probs[static_cast<size_t>(layer) * per_layer_probs + i],
                2e-4);
  }
}

TEST_P(ForwardGolden, LogitsAndRoutingMatchTransformers) {
  const auto loaded = LoadedModel::Load(ModelPath(GetParam().name));
  EXPECT_TRUE(loaded.warnings().empty()) << loaded.warnings()[0];
  const auto golden =
      SafetensorsFile::Open(SourcePath("tests/goldens/" + GetParam().name + "/golden.safetensors"));
  const auto ids64 = Values<int64_t>(golden, "ids", SafetensorsType::kI64);
  const auto expected = Values<float>(golden, "logits", SafetensorsType::kF32);
  ThreadPool threads(2);
  const auto device = MakeDevice(GetParam().device, threads);
  StepRunner runner(loaded.model(), *device, KvType::kF32, ActivationType::kF32,
                    {std::vector<int32_t>(ids64.begin(), ids64.end())});
  int64_t layers_seen = 0;
  const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
    ++layers_seen;
    if (golden.Find("experts") != nullptr) ExpectRouting(golden, layer, routing);
  };
  runner.options().observer = &observer;
  runner.RunAll(0);
  EXPECT_EQ(layers_seen, loaded.model().config.num_layers);

  const auto& logits = runner.logits(0);
  ASSERT_EQ(logits.size(), expected.size());
  float max_logit = 0, max_difference = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    max_logit = std::max(max_logit, std::abs(expected[i]));
    max_difference = std::max(max_difference, std::abs(logits[i] - expected[i]));
  }
  EXPECT_LE(max_difference, 1e-4f * max_logit);
  RecordProperty("relative_difference", fmt::format("{:.2e}", max_difference / max_logit));
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const auto* name :
       {"mixtral", "mixtral_fused", "mixtral_sharded", "mixtral_bf16", "mixtral_f16",
        "mixtral_gguf_f32", "mixtral_gguf_bf16", "mixtral_head_dim", "mixtral_4_of_16",
        "mixtral_top1", "mistral_window", "llama_tied", "mistral_theta_nested"}) {
    for (const auto& device : DeviceNames()) cases.push_back({name, device});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, ForwardGolden, testing::ValuesIn(Cases()), [](const auto& test) {
  return test.param.name + "_" + test.param.device;
});

}  // namespace
}  // namespace cadre
