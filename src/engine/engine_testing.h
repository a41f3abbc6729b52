// An engine over a tiny model, and a listener to what it tells, for the tests of the engine.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/generator.h"
#include "engine/test_model.h"

namespace cadre {

// The reference is slow and these tests run thousands of tokens.
inline ModelConfig TinyConfig(int64_t window) {
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
  explicit EngineTest(int64_t window = 0) : small_(testing_model::MakeModel(TinyConfig(window))) {
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

  testing_model::SmallModel small_;
  ResidentExperts experts_{small_.model.weights};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Tokenizer tokenizer_{testing_model::SmallVocabulary(), "test"};
  EngineConfig config_;
  std::optional<Engine> engine_;
};

class WindowEngineTest : public EngineTest {
 protected:
  WindowEngineTest() : EngineTest(40) {}
};

inline void ExpectSame(const GenerateResult& alone, Listener& listener, const char* what) {
  listener.Wait();
  EXPECT_EQ(alone.text, listener.text()) << what;
  EXPECT_EQ(alone.ids, listener.ids()) << what;
}

}  // namespace cadre
