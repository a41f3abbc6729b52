// Adapters that PEFT wrote, and the logits it computes with them (tests/goldens/lora, made by
// tools/make_lora_goldens.py), on every device.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "formats/safetensors.h"
#include "model/load.h"
#include "tests/devices.h"
#include "tests/step.h"

namespace cadre {
namespace {

class LoraGolden : public testing::TestWithParam<std::string> {};

template <typename T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.Find(name);
  if (entry == nullptr) throw std::runtime_error("golden without " + name);
  std::vector<T> values(entry->data.size() / sizeof(T));
  std::memcpy(values.data(), entry->data.data(), entry->data.size());
  return values;
}

TEST_P(LoraGolden, LogitsMatchPeft) {
  const std::string folder = SourcePath("tests/goldens/lora/");
  const auto golden = SafetensorsFile::Open(folder + "golden.safetensors");
  ThreadPool threads(2);
  const auto device = MakeDevice(GetParam(), threads);
  for (const std::string name : {"together", "attention"}) {
    auto loaded = LoadedModel::Load(SourcePath("tests/goldens/mixtral"));
    loaded.AddAdapters(folder + name);
    const auto ids = Values<int64_t>(golden, name + ".ids");
    const auto expected = Values<float>(golden, name + ".logits");
    StepRunner runner(loaded.model(), *device, KvType::kF32, ActivationType::kF32,
                      {std::vector<int32_t>(ids.begin(), ids.end())});
    runner.RunAll(0);
    const auto& logits = runner.logits(0);
    ASSERT_EQ(logits.size(), expected.size());
    float largest = 0, difference = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      difference = std::max(difference, std::abs(logits[i] - expected[i]));
    }
    EXPECT_LE(difference, 1e-4f * largest) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, LoraGolden, testing::ValuesIn(DeviceNames()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cadre
