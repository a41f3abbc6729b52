#include "engine/engine.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "base/error.h"
#include "engine/generator.h"
#include "engine/test_model.h"
#include "grammar/constraint.h"

namespace cadre {
namespace {

using testing_model::MakeModel;
using testing_model::SmallModel;
using testing_model::SmallVocabulary;

// The reference is slow and these tests run thousands of tokens.
ModelConfig TinyConfig(int64_t window) {
  ModelConfig config = testing_model::SmallConfig(window);
  config.dim = 16;
  config.hidden_dim = 16;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  return config;
}

// All that was told of one request.
class Listener {
 public:
  RequestCallback callback() {
    return [this](RequestEvent event) {
      const std::lock_guard lock(mutex_);
      ASSERT_FALSE(end_.has_value()) << "told after the end";
      text_ += event.text;
      tokens_.insert(tokens_.end(), event.tokens.begin(), event.tokens.end());
      end_ = std::move(event.end);
      changed_.notify_all();
    };
  }
  const RequestEnd& Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return end_.has_value(); });
    return *end_;
  }
  void WaitForTokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return end_.has_value() || tokens_.size() >= count; });
  }
  bool ended() {
    const std::lock_guard lock(mutex_);
    return end_.has_value();
  }
  size_t num_tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_.size();
  }
  const std::string& text() const { return text_; }  // after Wait, as the next two
  const std::vector<OutputToken>& tokens() const { return tokens_; }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> ids;
    for (const auto& token : tokens_) ids.push_back(token.id);
    return ids;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::vector<OutputToken> tokens_;
  std::optional<RequestEnd> end_;
};

class EngineTest : public testing::Test {
 protected:
  explicit EngineTest(int64_t window = 0) : small_(MakeModel(TinyConfig(window))) {
    config_.sequence = {.activation = ActivationType::kF32, .kv_type = KvType::kF16};
    config_.context_length = 2000;
  }

  Engine& Start() {
    engine_.emplace(small_.model, experts_, *device_, tokenizer_, config_);
    return *engine_;
  }
  std::vector<int32_t> Prompt(const std::string& text) {
    std::vector<int32_t> ids = {1};
    for (const int32_t id : tokenizer_.Encode(text)) ids.push_back(id);
    return ids;
  }
  Request Ask(const std::string& prompt, int64_t max_tokens = 30, uint64_t seed = 5) {
    Request request;
    request.prompt_ids = Prompt(prompt);
    request.sampler = {.temperature = 1.2, .seed = seed};
    request.sampler.logit_bias = {{tokenizer_.eos_id(), -1000.0f}};  // no early end by chance
    request.max_tokens = max_tokens;
    return request;
  }
  // What the request gets from the one-sequence generator.
  GenerateResult Alone(const Request& request) {
    Generator generator(small_.model, experts_, *device_, tokenizer_,
                        {config_.sequence, config_.context_length});
    GenerateRequest alone;
    alone.prompt_ids = request.prompt_ids;
    alone.sampler = request.sampler;
    alone.max_tokens = request.max_tokens;
    alone.stops = request.stops;
    alone.leading_space = request.leading_space;
    return generator.Generate(alone);
  }
  std::string LongText(int words, int seed) {
    std::string text;
    for (int i = 0; i < words; ++i) {
      text += static_cast<char>('a' + (i * i + seed * 7 + i * seed) % 26);
      if (i % 5 == 4) text += ' ';
    }
    return text;
  }

  SmallModel small_;
  ResidentExperts experts_{small_.model.weights};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Tokenizer tokenizer_{SmallVocabulary(), "test"};
  EngineConfig config_;
  std::optional<Engine> engine_;
};

class WindowEngineTest : public EngineTest {
 protected:
  WindowEngineTest() : EngineTest(40) {}
};

void ExpectSame(const GenerateResult& alone, Listener& listener, const char* what) {
  listener.Wait();
  EXPECT_EQ(alone.text, listener.text()) << what;
  EXPECT_EQ(alone.ids, listener.ids()) << what;
}

TEST_F(EngineTest, GivesEachRequestWhatItWouldGetAlone) {
  config_.max_running = 7;
  config_.step_tokens = 24;  // prompts come in pieces
  Engine& engine = Start();
  std::vector<Request> requests;
  for (int i = 0; i < 20; ++i)
    requests.push_back(Ask(LongText(3 + 9 * i, i % 6), 10 + i, static_cast<uint64_t>(i)));
  requests[3].sampler.temperature = 0;
  requests[4].sampler = {.temperature = 0.8, .top_k = 20, .top_p = 0.9, .repeat_penalty = 1.3};
  requests[6].sampler.logit_bias.clear();
  requests[5].stops = {"e", "qu"};
  std::vector<Listener> listeners(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(engine.Submit(requests[i], listeners[i].callback()).admission, Admission::kAdmitted);
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(i);
    if (i == 5) {
      const auto alone = Alone(requests[i]);
      EXPECT_EQ(listeners[i].Wait().hit_stop_string, alone.finish_reason == FinishReason::kStop);
      EXPECT_EQ(alone.text, listeners[i].text());
    } else {
      ExpectSame(Alone(requests[i]), listeners[i], "");
    }
  }
}

TEST_F(EngineTest, ACommonBeginningIsRunOnce) {
  Engine& engine = Start();
  const std::string beginning = LongText(700, 3);
  std::vector<Listener> listeners(4);
  for (int i = 0; i < 4; ++i) {
    engine.Submit(Ask(beginning + LongText(20, i + 4), 8),
                  listeners[static_cast<size_t>(i)].callback());
  }
  int64_t cached = 0;
  for (int i = 0; i < 4; ++i) {
    auto& listener = listeners[static_cast<size_t>(i)];
    ExpectSame(Alone(Ask(beginning + LongText(20, i + 4), 8)), listener, "shared");
    cached += listener.Wait().usage.cached_tokens;
  }
  EXPECT_GT(cached, 3 * 690);
  const auto stats = engine.stats();
  EXPECT_EQ(stats.cached_tokens, cached);
}

TEST_F(EngineTest, WithoutPagesEnoughTheLastWaitAndStillGetTheSame) {
  config_.context_length = 700;
  config_.kv_bytes = 6 * small_.config.kv_shape(KvType::kF16).page_bytes();
  Engine& engine = Start();
  std::vector<Listener> listeners(6);
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(Ask(LongText(250 + i, i), 200, static_cast<uint64_t>(i)));
    engine.Submit(requests.back(), listeners[static_cast<size_t>(i)].callback());
  }
  for (size_t i = 0; i < 6; ++i) ExpectSame(Alone(requests[i]), listeners[i], "preempted");
  EXPECT_GT(engine.stats().preempted, 0);
}

TEST_F(WindowEngineTest, GivesTheSameBehindAWindow) {
  config_.context_length = 3000;
  config_.kv_bytes = 14 * small_.config.kv_shape(KvType::kF16).page_bytes();
  Engine& engine = Start();
  std::vector<Listener> listeners(4);
  std::vector<Request> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(Ask(LongText(500 + i, i % 2), 300, static_cast<uint64_t>(i)));
    engine.Submit(requests.back(), listeners[static_cast<size_t>(i)].callback());
  }
  for (size_t i = 0; i < 4; ++i) ExpectSame(Alone(requests[i]), listeners[i], "window");
}

TEST_F(EngineTest, GuessesChangeNothing) {
  config_.sequence.activation = ActivationType::kF32;
  Engine& engine = Start();
  std::string text;
  for (int i = 0; i < 30; ++i) text += "abc def ghi ";
  Request request = Ask(text, 120);
  request.sampler.temperature = 0;  // falls into a loop sooner or later
  Listener listener;
  engine.Submit(request, listener.callback());
  ExpectSame(Alone(request), listener, "drafted");
  EXPECT_GE(listener.Wait().usage.drafted_tokens, listener.Wait().usage.accepted_tokens);
}

TEST_F(EngineTest, CancelsInAnyState) {
  config_.max_running = 1;
  config_.step_tokens = 16;
  Engine& engine = Start();
  Listener generating, queued, other;
  const auto first = engine.Submit(Ask("hello", 1900), generating.callback());
  const auto second = engine.Submit(Ask("hello", 10), queued.callback());
  engine.Submit(Ask("other", 10), other.callback());
  generating.WaitForTokens(3);
  engine.Cancel(second.id);
  EXPECT_EQ(queued.Wait().reason, FinishReason::kCancelled);
  EXPECT_EQ(queued.num_tokens(), 0u);
  EXPECT_FALSE(generating.ended());
  engine.Cancel(first.id);
  EXPECT_EQ(generating.Wait().reason, FinishReason::kCancelled);
  ExpectSame(Alone(Ask("other", 10)), other, "beside cancelled ones");
  Listener prompt;
  const auto third = engine.Submit(Ask(LongText(1500, 1), 10), prompt.callback());
  engine.Cancel(third.id);
  engine.Cancel(12345);
  EXPECT_EQ(prompt.Wait().reason, FinishReason::kCancelled);
  EXPECT_EQ(engine.stats().cancelled, 3);
  EXPECT_EQ(engine.stats().pages_in_use, 0);
}

TEST_F(EngineTest, RefusesMoreThanItsQueueHolds) {
  config_.max_running = 2;
  config_.max_queued = 3;
  Engine& engine = Start();
  std::vector<Listener> listeners(9);
  int refused = 0;
  for (auto& listener : listeners) {
    if (engine.Submit(Ask("hello", 1500), listener.callback()).admission == Admission::kQueueFull)
      ++refused;
  }
  EXPECT_EQ(refused, 4);
  EXPECT_EQ(engine.stats().refused, 4);
  engine_.reset();  // before those it tells of the end
}

TEST_F(EngineTest, APausedRequestHoldsNobodyUp) {
  config_.max_running = 1;
  Engine& engine = Start();
  Listener slow, fast;
  const Request asked = Ask("hello", 200);
  const auto id = engine.Submit(asked, slow.callback()).id;
  slow.WaitForTokens(2);
  engine.SetPaused(id, true);
  engine.Submit(Ask("other", 20), fast.callback());
  ExpectSame(Alone(Ask("other", 20)), fast, "beside a paused one");
  EXPECT_FALSE(slow.ended());
  engine.SetPaused(id, false);
  ExpectSame(Alone(asked), slow, "paused and resumed");
}

TEST_F(EngineTest, DrainsAndThenTakesNoMore) {
  Engine& engine = Start();
  Listener quick, endless;
  engine.Submit(Ask("hello", 5), quick.callback());
  engine.Drain(60);
  EXPECT_EQ(quick.Wait().reason, FinishReason::kLength);
  EXPECT_EQ(engine.Submit(Ask("hello"), endless.callback()).admission, Admission::kStopping);
}

TEST_F(EngineTest, DrainEndsWhatTakesTooLong) {
  Engine& engine = Start();
  Listener endless;
  engine.Submit(Ask("hello", 1900), endless.callback());
  engine.Drain(0.05);
  EXPECT_EQ(endless.Wait().reason, FinishReason::kCancelled);
}

TEST_F(EngineTest, TellsEveryoneTheEndWhenItGoes) {
  Listener running, waiting;
  config_.max_running = 1;
  Start();
  engine_->Submit(Ask("hello", 1900), running.callback());
  engine_->Submit(Ask("hello", 1900), waiting.callback());
  engine_.reset();
  EXPECT_EQ(running.Wait().reason, FinishReason::kCancelled);
  EXPECT_EQ(waiting.Wait().reason, FinishReason::kCancelled);
}

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

TEST_F(EngineTest, DamagedWeightsEndTheRequestAndNotTheEngine) {
  Engine& engine = Start();
  Request request = Ask("hello", 30);
  request.min_tokens = 3;
  Listener good;
  engine.Submit(request, good.callback());
  EXPECT_GE(good.Wait().usage.generated_tokens, 3);
  // From here on every logit is NaN.
  for (int64_t i = 0; i < small_.arena.size(); ++i) small_.arena[i] = std::nanf("");
  Listener bad, worse;
  engine.Submit(Ask("there", 30), bad.callback());
  EXPECT_EQ(bad.Wait().reason, FinishReason::kError);
  EXPECT_NE(bad.Wait().error.find("logit"), std::string::npos);
  engine.Submit(Ask("there", 30), worse.callback());
  EXPECT_EQ(worse.Wait().reason, FinishReason::kError);
}

TEST_F(EngineTest, RefusesWhatCanNeverBeServed) {
  Engine& engine = Start();
  const auto refuses = [&](auto change) {
    Request request = Ask("hello");
    change(request);
    Listener listener;
    EXPECT_THROW(engine.Submit(request, listener.callback()), Error);
  };
  refuses([](Request& r) { r.prompt_ids.clear(); });
  refuses([](Request& r) { r.prompt_ids.assign(2001, 5); });
  refuses([](Request& r) { r.prompt_ids[0] = 100000; });
  refuses([](Request& r) { r.max_tokens = -1; });
  refuses([](Request& r) { r.sampler.temperature = -1; });
  refuses([](Request& r) { r.stops = {""}; });
  refuses([](Request& r) { r.experts_per_token = 5; });
  refuses([](Request& r) { r.min_expert_prob = 1.5f; });
  config_.kv_bytes = 1;
  EXPECT_THROW(Start(), Error);
}

TEST_F(EngineTest, EndsAtTheContext) {
  config_.context_length = 20;
  Engine& engine = Start();
  Listener listener;
  engine.Submit(Ask("hello", 100), listener.callback());
  EXPECT_EQ(listener.Wait().reason, FinishReason::kLength);
  EXPECT_EQ(std::ssize(Prompt("hello")) + listener.Wait().usage.generated_tokens, 20);
}

}  // namespace
}  // namespace cadre
