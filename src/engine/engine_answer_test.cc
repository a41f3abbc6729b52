// What an engine tells of an answer: log-probabilities, routing, embeddings, constraints.
#include "engine/engine_testing.h"
#include "grammar/constraint.h"

namespace cadre {
namespace {

TEST_F(EngineTest, LogProbabilitiesAreOfTheModelAndAgreeWithThePromptsOwn) {
  Engine& engine = Start();
  Request request = Ask("hello", 12);
  request.top_logprobs = 3;
  Listener listener;
  engine.Submit(request, listener.callback());
  listener.Wait();
  ASSERT_EQ(listener.tokens().size(), 12u);
  for (const auto& token : listener.tokens()) {
    ASSERT_EQ(token.top_logprobs.size(), 3u);
    EXPECT_LE(*token.logprob, token.top_logprobs[0].logprob);
    EXPECT_GE(token.top_logprobs[0].logprob, token.top_logprobs[1].logprob);
    EXPECT_LT(token.top_logprobs[0].logprob, 0);
  }
  // The same tokens as a prompt have the same log-probabilities.
  Request echo = Ask("hello", 0);
  for (const int32_t id : listener.ids()) echo.prompt_ids.push_back(id);
  echo.prompt_logprobs = true;
  Listener echoed;
  engine.Submit(echo, echoed.callback());
  const RequestEnd& end = echoed.Wait();
  EXPECT_EQ(end.reason, FinishReason::kLength);
  ASSERT_EQ(end.prompt_tokens.size(), echo.prompt_ids.size());
  EXPECT_FALSE(end.prompt_tokens[0].logprob.has_value());
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(end.prompt_tokens[request.prompt_ids.size() + i].logprob,
              listener.tokens()[i].logprob);
  }
}

TEST_F(EngineTest, TellsTheRoutingOfEveryTokenAndObeysTheWishForExperts) {
  Engine& engine = Start();
  for (const int wish : {1, 0, 3}) {
    Request request = Ask("hello there", 6);
    request.routing = true;
    request.experts_per_token = wish;
    const size_t k = wish == 0 ? 2 : static_cast<size_t>(wish);
    Listener listener;
    engine.Submit(request, listener.callback());
    const RequestEnd& end = listener.Wait();
    ASSERT_EQ(end.prompt_tokens.size(), request.prompt_ids.size());
    for (const auto& token : end.prompt_tokens) {
      ASSERT_EQ(token.routing.experts.size(), 2 * k);  // two layers
      ASSERT_EQ(token.routing.entropy.size(), 2u);
      EXPECT_GT(token.routing.entropy[0], 0);
    }
    ASSERT_EQ(listener.tokens().size(), 6u);
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(listener.tokens()[i].routing.experts.size(), i < 5 ? 2 * k : 0u);
    EXPECT_DOUBLE_EQ(end.usage.experts_per_token, static_cast<double>(k));
  }
}

TEST_F(EngineTest, WishesOfOneRequestDoNotTouchAnother) {
  Engine& engine = Start();
  Request wishing = Ask("hello", 40);
  wishing.experts_per_token = 4;
  wishing.min_expert_prob = 0.2f;
  Listener first, second;
  engine.Submit(wishing, first.callback());
  engine.Submit(Ask("there", 40), second.callback());
  ExpectSame(Alone(Ask("there", 40)), second, "beside wishes");
  const double used = first.Wait().usage.experts_per_token;
  EXPECT_GE(used, 1);
  EXPECT_LT(used, 4);
  EXPECT_EQ(std::ssize(engine.stats().expert_tokens), 2 * 4);
}

TEST_F(EngineTest, AnEmbeddingIsTheMeanOfThePromptsStatesHoweverItIsCut) {
  Request request = Ask(LongText(300, 2));
  request.embedding = true;
  std::vector<std::vector<float>> embeddings;
  for (const int64_t step_tokens : {64, 512}) {
    config_.step_tokens = step_tokens;
    Engine& engine = Start();
    Listener listener, beside;
    engine.Submit(Ask("hello", 50), beside.callback());
    engine.Submit(request, listener.callback());
    const RequestEnd& end = listener.Wait();
    EXPECT_EQ(end.reason, FinishReason::kStop);
    ASSERT_EQ(std::ssize(end.embedding), small_.config.dim);
    embeddings.push_back(end.embedding);
    beside.Wait();
  }
  EXPECT_EQ(embeddings[0], embeddings[1]);
}

// A text of the letter a, at most five, then it must end.
class FiveA : public Constraint {
 public:
  explicit FiveA(const Tokenizer& tokenizer) : id_(*tokenizer.FindPiece("a")) {}
  std::unique_ptr<ConstraintState> Start() const override { return std::make_unique<State>(id_); }

 private:
  struct State : ConstraintState {
    explicit State(int32_t only) : id(only) {}
    void AllowedTokens(std::span<uint64_t> mask) override {
      std::fill(mask.begin(), mask.end(), 0);
      if (count < 5) mask[static_cast<size_t>(id) / 64] = uint64_t{1} << (id % 64);
    }
    bool CanEnd() const override { return count >= 3; }
    bool Accept(int32_t token) override { return token == id && count++ < 5; }
    std::unique_ptr<ConstraintState> Clone() const override {
      return std::make_unique<State>(*this);
    }
    int32_t id;
    int count = 0;
  };
  int32_t id_;
};

TEST_F(EngineTest, AConstraintHoldsAndEndsTheAnswer) {
  Engine& engine = Start();
  Request request = Ask("hello", 30);
  request.constraint.grammar = std::make_shared<FiveA>(tokenizer_);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    request.sampler.seed = seed;
    Listener listener;
    engine.Submit(request, listener.callback());
    EXPECT_EQ(listener.Wait().reason, FinishReason::kStop);
    EXPECT_TRUE(listener.text() == "aaa" || listener.text() == "aaaa" || listener.text() == "aaaaa")
        << listener.text();
  }
}

TEST_F(EngineTest, WhoIgnoresTheEndGetsAllTokensButAFinishedConstraintStillEnds) {
  Engine& engine = Start();
  Request request = Ask("hello", 30);
  request.sampler.logit_bias = {{tokenizer_.eos_id(), 1000.0f}};
  Listener ended;
  engine.Submit(request, ended.callback());
  EXPECT_EQ(ended.Wait().reason, FinishReason::kStop);
  EXPECT_EQ(ended.num_tokens(), 0u);
  request.ignore_eos = true;
  Listener whole;
  engine.Submit(request, whole.callback());
  EXPECT_EQ(whole.Wait().reason, FinishReason::kLength);
  EXPECT_EQ(whole.num_tokens(), 30u);
  request.constraint.grammar = std::make_shared<FiveA>(tokenizer_);
  Listener constrained;
  engine.Submit(request, constrained.callback());
  EXPECT_EQ(constrained.Wait().reason, FinishReason::kStop);
  EXPECT_EQ(constrained.text(), "aaaaa");
}

TEST_F(EngineTest, ATriggerStartsTheConstraint) {
  Engine& engine = Start();
  Request request = Ask("hello", 30);
  const int32_t trigger = *tokenizer_.FindPiece("z");
  request.constraint = {std::make_shared<FiveA>(tokenizer_), trigger, true};
  Listener listener;
  engine.Submit(request, listener.callback());
  EXPECT_EQ(listener.Wait().reason, FinishReason::kStop);
  EXPECT_TRUE(listener.text().starts_with("zaaa")) << listener.text();
  request.constraint.trigger_first = false;
  request.sampler.logit_bias.emplace_back(trigger, 1.5f);
  request.max_tokens = 400;
  Listener free;
  engine.Submit(request, free.callback());
  free.Wait();
  const auto ids = free.ids();
  const auto first = std::find(ids.begin(), ids.end(), trigger);
  ASSERT_NE(first, ids.end());
  EXPECT_GT(first - ids.begin(), 0);
  EXPECT_LE(ids.end() - first, 6);
  EXPECT_TRUE(free.text().ends_with("zaaa") || free.text().ends_with("zaaaa") ||
              free.text().ends_with("zaaaaa"))
      << free.text();
}

}  // namespace
}  // namespace cadre
