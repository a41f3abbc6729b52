// Who is served when: sharing steps and pages, waiting, cancelling, pausing, draining, failing.
#include "base/error.h"
#include "engine/engine_testing.h"

namespace cadre {
namespace {

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

// As one that reads from a disk which fails for a while.
class FailingExperts : public ExpertSource {
 public:
  explicit FailingExperts(const ModelWeights& weights) : resident_(weights) {}
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override {
    if (fails) throw Error("model.gguf: cannot be read at byte 4096: Input/output error");
    return resident_.Acquire(layer, expert);
  }
  void Release(int64_t layer, int64_t expert) override { resident_.Release(layer, expert); }
  std::atomic<bool> fails = false;

 private:
  ResidentExperts resident_;
};

TEST_F(EngineTest, AFailedStepEndsItsRequestsAndNothingElse) {
  FailingExperts experts(small_.model.weights);
  Engine engine(small_.model, experts, *device_, tokenizer_, config_);
  const Request request = Ask("hello there", 20);
  Listener before, during, after;
  engine.Submit(request, before.callback());
  ExpectSame(Alone(request), before, "before");
  experts.fails = true;
  engine.Submit(request, during.callback());
  EXPECT_EQ(during.Wait().reason, FinishReason::kError);
  EXPECT_EQ(during.Wait().error, "model.gguf: cannot be read at byte 4096: Input/output error");
  experts.fails = false;
  engine.Submit(request, after.callback());
  ExpectSame(Alone(request), after, "after");
  EXPECT_EQ(engine.stats().failed, 1);
}

TEST_F(EngineTest, RefusesMoreExpertsThanThereIsRoomFor) {
  config_.max_experts = 2;
  Engine& engine = Start();
  Request request = Ask("hello");
  request.experts_per_token = 3;
  Listener listener;
  EXPECT_THROW(engine.Submit(request, listener.callback()), Error);
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
