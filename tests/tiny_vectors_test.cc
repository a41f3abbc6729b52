// The tiny synthetic Mixtral of CADRE_TEST_DATA/tiny: weights made by the formula in the file,
// results computed there in float64 by a program that shares no code with this one or with PyTorch.
// Every device, and the stored types that hold the weights exactly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "base/json.h"
#include "base/testing.h"
#include "model/config_files.h"
#include "model/load.h"
#include "model/save.h"
#include "model/testing.h"
#include "tests/devices.h"
#include "tests/step.h"

namespace cadre {
namespace {

constexpr double kTolerance = 1e-4;  // absolute, as the file says

std::optional<Json> Vectors() {
  const char* data = std::getenv("CADRE_TEST_DATA");
  if (data == nullptr || *data == '\0') return std::nullopt;
  return ReadJsonFile(std::string(data) + "/tiny/tiny_mixtral.json");
}

#define CADRE_NEEDS_TEST_DATA() \
  if (!Vectors()) GTEST_SKIP() << "CADRE_TEST_DATA is not set"

uint64_t Fnv1a64(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// Element i of the tensor: the highest byte of a splitmix64 output, scaled by kind.
float TinyWeight(const std::string& name, uint64_t hash, uint64_t i) {
  uint64_t z = hash + i + 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  z ^= z >> 31;
  const float u = static_cast<float>(z >> 56) - 128;
  if (name.ends_with("norm.weight")) return 1 + u / 512;
  return name == "model.embed_tokens.weight" ? u / 128 : u / 1024;
}

// The model of the file, or its dense variant, with a window or none.
class TinyModel {
 public:
  explicit TinyModel(const Json& vectors, bool dense = false, int64_t window = 0)
      : layout_(Config(vectors, dense, window)),
        arena_(layout_.size()),
        model_(layout_.Bind(arena_.data())) {
    for (const auto& p : layout_.parameters()) {
      const uint64_t hash = Fnv1a64(p.name);
      for (int64_t i = 0; i < p.size(); ++i)
        arena_[p.offset + i] = TinyWeight(p.name, hash, static_cast<uint64_t>(i));
    }
  }
  const Model& model() const { return model_; }
  const ParameterLayout& layout() const { return layout_; }
  const Buffer<float>& arena() const { return arena_; }

 private:
  static ModelConfig Config(const Json& vectors, bool dense, int64_t window) {
    Json json = vectors.at("config");
    json["model_type"] = dense ? "mistral" : "mixtral";
    json["sliding_window"] = window;
    json["max_position_embeddings"] = 64;
    return ConfigFromJson(json, "tiny");
  }
  ParameterLayout layout_;
  Buffer<float> arena_;
  Model model_;
};

std::vector<int32_t> Prompt(const Json& vectors) {
  return vectors.at("prompt").get<std::vector<int32_t>>();
}

void ExpectNear(std::span<const float> found, const Json& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i], expected[i].get<double>(), kTolerance) << i;
}

// The logits of each position of a run.
class Logits {
 public:
  Logits(const std::vector<float>& all, int64_t vocab)
      : all_(all), vocab_(static_cast<size_t>(vocab)) {}
  std::span<const float> At(size_t position) const {
    return std::span(all_).subspan(position * vocab_, vocab_);
  }
  int64_t ArgMax(size_t position) const {
    const auto row = At(position);
    return std::max_element(row.begin(), row.end()) - row.begin();
  }
  double LogSumExp(size_t position) const {
    double sum = 0;
    for (const float logit : At(position)) sum += std::exp(static_cast<double>(logit));
    return std::log(sum);
  }

 private:
  const std::vector<float>& all_;
  size_t vocab_;
};

void ExpectRouting(const Json& expected, const Routing& routing) {
  for (int64_t t = 0; t < routing.experts.rows; ++t) {
    for (int64_t c = 0; c < routing.experts.cols; ++c) {
      const auto at_t = static_cast<size_t>(t), at_c = static_cast<size_t>(c);
      EXPECT_EQ(routing.experts.row(t)[c], expected.at("experts")[at_t][at_c].get<int32_t>())
          << t << " " << c;
      EXPECT_NEAR(routing.gates.row(t)[c], expected.at("weights")[at_t][at_c].get<double>(),
                  kTolerance)
          << t << " " << c;
    }
  }
  const auto last = expected.at("last_token_logits").get<std::vector<double>>();
  double sum = 0;
  for (const double logit : last) sum += std::exp(logit);
  const float* probs = routing.probs.row(routing.probs.rows - 1);
  for (size_t e = 0; e < last.size(); ++e)
    EXPECT_NEAR(probs[e], std::exp(last[e]) / sum, kTolerance);
}

// Logits of the prompt, of every position, and the router's choices in every layer.
void ExpectPrompt(const Model& model, Device& device, const Json& vectors) {
  const Json& expected = vectors.at("moe");
  StepRunner runner(model, device, KvType::kF32, ActivationType::kF32, {Prompt(vectors)});
  size_t layers = 0;
  const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
    ++layers;
    ExpectRouting(expected.at("router")[static_cast<size_t>(layer)], routing);
  };
  runner.options().observer = &observer;
  runner.RunAll(0);
  EXPECT_EQ(layers, expected.at("router").size());
  const Logits logits(runner.logits(0), model.config.vocab_size);
  const size_t count = Prompt(vectors).size();
  EXPECT_EQ(expected.at("logits_last").size(), static_cast<size_t>(model.config.vocab_size));
  ExpectNear(logits.At(count - 1), expected.at("logits_last"));
  EXPECT_NEAR(logits.LogSumExp(count - 1), expected.at("logsumexp_last").get<double>(), kTolerance);
  for (size_t t = 0; t < count; ++t) {
    EXPECT_EQ(logits.ArgMax(t), expected.at("argmax_per_position")[t].get<int64_t>());
    EXPECT_NEAR(logits.At(t)[static_cast<size_t>(logits.ArgMax(t))],
                expected.at("max_logit_per_position")[t].get<double>(), kTolerance);
  }
}

TEST(TinyVectors, TheGeneratorMakesTheCheckValues) {
  CADRE_NEEDS_TEST_DATA();
  const Json vectors = *Vectors();
  for (const auto& [name, values] : vectors.at("generator_check").items()) {
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(TinyWeight(name, Fnv1a64(name), i), values[i].get<double>(), 1e-7)
          << name << " " << i;  // 8 digits are given
    }
  }
}

class TinyVectors : public ::testing::TestWithParam<std::string> {
 protected:
  ThreadPool threads_{2};
  std::unique_ptr<Device> device_ = MakeDevice(GetParam(), threads_);
};

TEST_P(TinyVectors, PromptMatches) {
  CADRE_NEEDS_TEST_DATA();
  const Json vectors = *Vectors();
  ExpectPrompt(TinyModel(vectors).model(), *device_, vectors);
}

// Through the files of each kind that holds these weights exactly: GGUF interleaves the rows that
// rotate together.
TEST_P(TinyVectors, PromptMatchesFromFiles) {
  CADRE_NEEDS_TEST_DATA();
  const Json vectors = *Vectors();
  const TinyModel tiny(vectors);
  const ModelConfig& config = tiny.layout().config();
  const base_testing::TempFolder folder;
  for (const DType type : {DType::kF16, DType::kBF16}) {
    const std::string path = folder / std::string(Info(type).name) + ".gguf";
    model_testing::SaveArenaAsGguf(config, tiny.arena(), type, path);
    ExpectPrompt(LoadedModel::Load(path).model(), *device_, vectors);
  }
  model_testing::SaveArenaAsHuggingFace(config, tiny.arena(), folder.path());
  ExpectPrompt(LoadedModel::Load(folder / "model.safetensors").model(), *device_, vectors);
}

// Each expected token is the best behind the ones before it, so feeding them in one by one is
// greedy decoding.
TEST_P(TinyVectors, GreedyTokensMatch) {
  CADRE_NEEDS_TEST_DATA();
  const Json vectors = *Vectors();
  const auto greedy = vectors.at("moe").at("greedy_8").get<std::vector<int32_t>>();
  std::vector<int32_t> ids = Prompt(vectors);
  const size_t prompt = ids.size();
  ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);
  const TinyModel tiny(vectors);
  StepRunner runner(tiny.model(), *device_, KvType::kF32, ActivationType::kF32, {ids});
  runner.Step({{0, static_cast<int64_t>(prompt)}});
  for (size_t i = 1; i < greedy.size(); ++i) runner.Step({{0, 1}});
  const Logits logits(runner.logits(0), tiny.model().config.vocab_size);
  for (size_t i = 0; i < greedy.size(); ++i) {
    const auto row = logits.At(prompt - 1 + i);
    EXPECT_EQ(logits.ArgMax(prompt - 1 + i), greedy[i]) << i;
    std::vector<float> sorted(row.begin(), row.end());
    std::nth_element(sorted.begin(), sorted.begin() + 1, sorted.end(), std::greater<>());
    const double margin = vectors.at("moe").at("greedy_logit_margins")[i].get<double>();
    EXPECT_NEAR(row[static_cast<size_t>(greedy[i])] - sorted[1], margin, 2 * kTolerance) << i;
  }
}

TEST_P(TinyVectors, SlidingWindowAndDenseVariantsMatch) {
  CADRE_NEEDS_TEST_DATA();
  const Json vectors = *Vectors();
  const struct {
    const char* name;
    bool dense;
    int64_t window;
  } variants[] = {{"moe_sliding_window_4", false, 4}, {"dense_variant", true, 0}};
  for (const auto& variant : variants) {
    const TinyModel tiny(vectors, variant.dense, variant.window);
    const Json& expected = vectors.at(variant.name);
    for (const bool one_by_one : {false, true}) {
      StepRunner runner(tiny.model(), *device_, KvType::kF32, ActivationType::kF32,
                        {Prompt(vectors)});
      const size_t count = Prompt(vectors).size();
      if (one_by_one) {
        for (size_t t = 0; t < count; ++t) runner.Step({{0, 1}});
      } else {
        runner.RunAll(0);
      }
      const Logits logits(runner.logits(0), tiny.model().config.vocab_size);
      ExpectNear(logits.At(count - 1), expected.at("logits_last_first32"));
      for (size_t t = 0; t < count; ++t) {
        EXPECT_EQ(logits.ArgMax(t), expected.at("argmax_per_position")[t].get<int64_t>())
            << variant.name << " " << t;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyVectors, ::testing::ValuesIn(DeviceNames()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cadre
