#include "eval/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"
#include "engine/test_model.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Texts = std::vector<std::vector<GeneratedText>>;

class TextGeneratorTest : public ::testing::Test {
 protected:
  // Prompts with a long common beginning, of different lengths and settings.
  static GenerationPrompt Prompt(size_t index, int samples = 1, double temperature = 0) {
    GenerationPrompt prompt{.ids = {1},
                            .max_tokens = 5 + static_cast<int64_t>(index * 7 % 20),
                            .samples = samples,
                            .temperature = temperature,
                            .seed = PromptSeed(3, index)};
    for (int i = 0; i < 70; ++i) prompt.ids.push_back(270 + i % 20);
    for (size_t i = 0; i < 1 + index % 5; ++i)
      prompt.ids.push_back(static_cast<int32_t>(280 + (index * 5 + i) % 20));
    return prompt;
  }

  TextGenerator Make(bool shares, int64_t parallel = 4) {
    return {small_.model,
            experts_,
            *device_,
            tokenizer_,
            {.sequence = kExactPath, .parallel = parallel, .shares = shares}};
  }

  Texts Run(TextGenerator& generator, size_t count, int samples, double temperature) {
    Texts texts;
    const bool is_whole = generator.Run(
        0, count, [&](size_t i) { return Prompt(i, samples, temperature); },
        [&](size_t i, std::vector<GeneratedText> got) {
          EXPECT_EQ(i, texts.size());
          texts.push_back(std::move(got));
        },
        nullptr);
    EXPECT_TRUE(is_whole);
    return texts;
  }

  testing_model::SmallModel small_ = testing_model::MakeSmallModel();
  ResidentExperts experts_{small_.model.weights};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Tokenizer tokenizer_{testing_model::SmallVocabulary(), "test"};
};

void ExpectSame(const Texts& a, const Texts& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    for (size_t j = 0; j < a[i].size(); ++j) {
      EXPECT_EQ(a[i][j].text, b[i][j].text) << i << " " << j;
      EXPECT_EQ(a[i][j].ids, b[i][j].ids) << i << " " << j;
      EXPECT_EQ(a[i][j].reason, b[i][j].reason) << i << " " << j;
    }
  }
}

TEST_F(TextGeneratorTest, TogetherAndAloneTheTextsAreTheSame) {
  for (const double temperature : {0.0, 1.0}) {
    const int samples = temperature > 0 ? 3 : 1;
    TextGenerator together = Make(true), alone = Make(false);
    const Texts texts = Run(together, 12, samples, temperature);
    ExpectSame(texts, Run(alone, 12, samples, temperature));
    EXPECT_GT(together.stats().cached_tokens, 0);
    EXPECT_EQ(alone.stats().cached_tokens, 0);
  }
}

TEST_F(TextGeneratorTest, SamplesDifferAndTheFirstIsTheOneThatComesAlone) {
  TextGenerator generator = Make(true);
  const Texts three = Run(generator, 6, 3, 1.0);
  const Texts one = Run(generator, 6, 1, 1.0);
  for (size_t i = 0; i < three.size(); ++i) {
    ASSERT_THAT(three[i], SizeIs(3));
    EXPECT_EQ(three[i][0].ids, one[i][0].ids);
    EXPECT_NE(three[i][0].ids, three[i][1].ids);
    EXPECT_NE(three[i][1].ids, three[i][2].ids);
  }
}

TEST_F(TextGeneratorTest, ATextEndsBeforeAStopString) {
  TextGenerator generator = Make(true);
  // A character that stands alone, in the first text that has one.
  size_t index = 0;
  std::string whole, stop;
  for (const auto& texts : Run(generator, 12, 1, 0)) {
    whole = texts[0].text;
    for (size_t i = 1; i < whole.size() && stop.empty(); ++i)
      if (whole[i] > ' ' && whole[i] <= '~') stop = whole.substr(i, 1);
    if (!stop.empty()) break;
    ++index;
  }
  ASSERT_FALSE(stop.empty());
  generator.Run(
      index, index + 1,
      [&](size_t i) {
        GenerationPrompt prompt = Prompt(i);
        prompt.stops = {stop};
        return prompt;
      },
      [&](size_t, const std::vector<GeneratedText>& got) {
        EXPECT_EQ(got[0].text, whole.substr(0, whole.find(stop)));
        EXPECT_EQ(got[0].reason, FinishReason::kStop);
      },
      nullptr);
}

TEST_F(TextGeneratorTest, CancelledItStopsAndCanGoOn) {
  TextGenerator generator = Make(true);
  std::atomic<bool> cancelled = false;
  size_t taken = 0;
  const bool is_whole = generator.Run(
      0, 20, [&](size_t i) { return Prompt(i); },
      [&](size_t, const std::vector<GeneratedText>&) { cancelled = ++taken >= 3; }, &cancelled);
  EXPECT_FALSE(is_whole);
  EXPECT_GE(taken, 3u);
  EXPECT_THAT(Run(generator, 5, 1, 0), SizeIs(5));
}

TEST_F(TextGeneratorTest, WhatCannotBeAskedIsAnErrorAndEndsTheRest) {
  TextGenerator generator = Make(true);
  const auto ask = [&](size_t bad) {
    generator.Run(
        0, 8,
        [&](size_t i) {
          GenerationPrompt prompt = Prompt(i);
          if (i == bad) prompt.ids.push_back(100000);
          return prompt;
        },
        [](size_t, const std::vector<GeneratedText>&) {}, nullptr);
  };
  EXPECT_THAT(ErrorOf([&] { ask(5); }), HasSubstr("token id is 100000 but must be from 0 to"));
  ask(8);
}

}  // namespace
}  // namespace cadre
