#include "engine/generator.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/test_model.h"

namespace cadre {
namespace {

using testing_model::MakeSmallModel;
using testing_model::SmallModel;
using testing_model::SmallVocabulary;

class GeneratorTest : public testing::Test {
 protected:
  explicit GeneratorTest(int64_t window = 0) : small_(MakeSmallModel(window)) {}

  Generator Fresh(GeneratorConfig config = {}) {
    return Generator(small_.model, experts_, *device_, tokenizer_, config);
  }
  GenerateRequest Request(const std::string& prompt, int64_t max_tokens = 40) {
    GenerateRequest request;
    request.prompt_ids = {1};
    for (const int32_t id : tokenizer_.Encode(prompt)) request.prompt_ids.push_back(id);
    request.sampler = {.temperature = 1.2, .seed = 5};
    request.max_tokens = max_tokens;
    return request;
  }

  SmallModel small_;
  ResidentExperts experts_{small_.model.weights};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Tokenizer tokenizer_{SmallVocabulary(), "test"};
};

class WindowGeneratorTest : public GeneratorTest {
 protected:
  WindowGeneratorTest() : GeneratorTest(32) {}
};

TEST_F(GeneratorTest, StreamsTheTextThatItReturns) {
  std::string streamed;
  std::vector<int32_t> ids;
  const auto result = Fresh().Generate(Request("hello world"), [&](const TokenEvent& event) {
    streamed += event.text;
    if (event.id >= 0) ids.push_back(event.id);
  });
  EXPECT_EQ(result.text, streamed);
  EXPECT_EQ(result.ids, ids);
  EXPECT_EQ(std::ssize(result.ids), 40);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.prompt_tokens, std::ssize(Request("hello world").prompt_ids));
}

TEST_F(GeneratorTest, TheSeedDecidesTheText) {
  auto request = Request("hello");
  const auto first = Fresh().Generate(request);
  EXPECT_EQ(Fresh().Generate(request).ids, first.ids);
  request.sampler.seed = 6;
  EXPECT_NE(Fresh().Generate(request).ids, first.ids);
}

TEST_F(GeneratorTest, ContinuingATextIsTheSameAsStartingAfresh) {
  Generator kept = Fresh();
  auto request = Request("one two three");
  const auto first = kept.Generate(request);
  // The next turn extends what was said.
  request.prompt_ids.insert(request.prompt_ids.end(), first.ids.begin(), first.ids.end());
  for (const int32_t id : tokenizer_.Encode("four five")) request.prompt_ids.push_back(id);
  const auto second = kept.Generate(request);
  EXPECT_GE(second.reused_tokens, first.prompt_tokens + std::ssize(first.ids) - 1);
  EXPECT_EQ(second.ids, Fresh().Generate(request).ids);
  // And this one goes back and says something else.
  const auto other = Request("one two six");
  const auto third = kept.Generate(other);
  EXPECT_GT(third.reused_tokens, 0);
  EXPECT_LT(third.reused_tokens, third.prompt_tokens);
  EXPECT_EQ(third.ids, Fresh().Generate(other).ids);
  // The very same prompt again: its last token is run once more.
  EXPECT_EQ(kept.Generate(other).ids, third.ids);
}

TEST_F(GeneratorTest, AnswersAreTheSameHoweverLongTheyMayGet) {
  const auto few = Fresh().Generate(Request("hello", 5));
  const auto many = Fresh().Generate(Request("hello", 20));
  ASSERT_EQ(many.ids.size(), 20u);
  EXPECT_EQ(few.ids, std::vector<int32_t>(many.ids.begin(), many.ids.begin() + 5));
}

TEST_F(GeneratorTest, StopsBeforeAStopString) {
  const auto whole = Fresh().Generate(Request("hello"));
  ASSERT_GT(whole.text.size(), 12u);
  size_t begin = whole.text.size() / 2;  // a stop string that begins at a character
  while ((static_cast<unsigned char>(whole.text[begin]) & 0xc0) == 0x80) ++begin;
  size_t end = begin + 3;
  while (end < whole.text.size() && (static_cast<unsigned char>(whole.text[end]) & 0xc0) == 0x80)
    ++end;
  auto request = Request("hello");
  request.stops = {"not there", whole.text.substr(begin, end - begin)};
  const auto stopped = Fresh().Generate(request);
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  EXPECT_EQ(stopped.text, whole.text.substr(0, whole.text.find(request.stops[1])));
  EXPECT_LT(stopped.ids.size(), whole.ids.size());
}

TEST_F(GeneratorTest, StopsAtEosAndDoesNotReturnIt) {
  const auto whole = Fresh().Generate(Request("hello"));
  ASSERT_GT(whole.ids.size(), 10u);
  const int32_t ender = whole.ids[10];
  small_.model.config.eos_ids = {ender};
  const auto stopped = Fresh().Generate(Request("hello"));
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  const auto first = std::find(whole.ids.begin(), whole.ids.end(), ender);
  EXPECT_EQ(stopped.ids, std::vector<int32_t>(whole.ids.begin(), first));
}

TEST_F(GeneratorTest, EndsAtTheContextAndRefusesLongerPrompts) {
  auto request = Request("abc");
  const int64_t prompt = std::ssize(request.prompt_ids);
  const auto result = Fresh({.sequence = {}, .context_length = prompt + 4}).Generate(request);
  EXPECT_EQ(std::ssize(result.ids), 4);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_THROW(Fresh({.sequence = {}, .context_length = prompt - 1}).Generate(request), Error);
  EXPECT_THROW(Fresh({.sequence = {}, .context_length = -1}), Error);
}

TEST_F(GeneratorTest, CanBeCancelledAndGoesOnAfterwards) {
  std::atomic<bool> cancelled = false;
  auto request = Request("hello");
  request.cancelled = &cancelled;
  Generator generator = Fresh();
  const auto part = generator.Generate(request, [&](const TokenEvent& event) {
    if (event.id >= 0) cancelled = true;
  });
  EXPECT_EQ(part.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(part.ids.size(), 1u);
  EXPECT_EQ(generator.Generate(request).ids.size(), 0u);  // before the prompt
  cancelled = false;
  EXPECT_EQ(generator.Generate(request).ids, Fresh().Generate(Request("hello")).ids);
}

TEST_F(GeneratorTest, GivesNothingForZeroTokensAndRefusesNonsense) {
  EXPECT_TRUE(Fresh().Generate(Request("a", 0)).ids.empty());
  EXPECT_THROW(Fresh().Generate(Request("a", -1)), Error);
  auto request = Request("a");
  request.prompt_ids.clear();
  EXPECT_THROW(Fresh().Generate(request), Error);
  request.prompt_ids = {1, 100000};
  EXPECT_THROW(Fresh().Generate(request), Error);
}

TEST_F(GeneratorTest, LongPromptsInChunksGiveTheLogitsOfOneRun) {
  std::vector<int32_t> ids;
  for (int i = 0; i < 700; ++i) ids.push_back(3 + (i * i) % 250);
  const int64_t vocab = small_.config.vocab_size;
  Buffer<float> together(700 * vocab);
  Sequence whole(small_.model, experts_, *device_, kExactPath);
  ASSERT_TRUE(whole.Append(ids, together.AsMat(700, vocab)));
  Buffer<float> last(vocab);
  Sequence pieces(small_.model, experts_, *device_, kExactPath);
  ASSERT_TRUE(pieces.Append(std::span(ids).first(699), last.AsMat(1, vocab)));
  ASSERT_TRUE(pieces.Append(std::span(ids).last(1), last.AsMat(1, vocab)));
  for (int64_t i = 0; i < vocab; ++i) ASSERT_EQ(last[i], together[699 * vocab + i]);
}

TEST_F(WindowGeneratorTest, MemoryStaysConstantBehindTheWindow) {
  Generator generator = Fresh();
  generator.Generate(Request("hello", 300));
  const int64_t bytes = generator.kv_bytes();
  generator.Generate(Request("hello", 900));
  EXPECT_EQ(generator.kv_bytes(), bytes);
}

TEST_F(WindowGeneratorTest, GoingBackBehindTheWindowStartsAfresh) {
  Generator generator = Fresh();
  generator.Generate(Request("hello there", 600));
  const auto back = generator.Generate(Request("hello you"));
  EXPECT_EQ(back.reused_tokens, 0);
  EXPECT_EQ(back.ids, Fresh().Generate(Request("hello you")).ids);
}

}  // namespace
}  // namespace cadre
