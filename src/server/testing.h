// What the tests of this floor share: a client that remembers what it was told, and a small
// vocabulary with the control pieces of an instruct model.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "engine/test_model.h"
#include "server/api_config.h"
#include "server/api_error.h"
#include "server/http.h"

namespace cadre::testing_server {

// Thread-safe, as the real one.
class FakeReply : public HttpReply {
 public:
  void Respond(HttpResponse response) override {
    const std::lock_guard lock(mutex_);
    ++num_answers_;
    head_ = response;
    body_ = std::move(response.body);
    complete_ = true;
    changed_.notify_all();
  }
  void StartStream(HttpResponse head) override {
    const std::lock_guard lock(mutex_);
    ++num_answers_;
    head_ = std::move(head);
  }
  void Write(std::string piece) override {
    const std::lock_guard lock(mutex_);
    body_ += piece;
    changed_.notify_all();
  }
  void Finish() override {
    const std::lock_guard lock(mutex_);
    complete_ = true;
    changed_.notify_all();
  }
  size_t unsent_bytes() const override {
    const std::lock_guard lock(mutex_);
    return unsent_;
  }
  void OnGone(std::function<void()> gone) override { gone_ = std::move(gone); }
  void OnDrained(size_t, std::function<void()> drained) override {
    const std::lock_guard lock(mutex_);
    drained_ = std::move(drained);
  }

  // The other side.
  void SetUnsent(size_t bytes) {
    std::function<void()> drained;
    {
      const std::lock_guard lock(mutex_);
      if (bytes < unsent_) drained = drained_;
      unsent_ = bytes;
    }
    if (drained) drained();
  }
  void Leave() { gone_(); }
  // False when nothing complete came in time.
  bool Wait(int seconds = 60) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(seconds), [this] { return complete_; });
  }
  bool WaitForBytes(size_t bytes, int seconds = 60) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(seconds),
                             [&] { return body_.size() >= bytes; });
  }

  bool complete() const {
    const std::lock_guard lock(mutex_);
    return complete_;
  }
  int num_answers() const { return num_answers_; }
  int status() const { return head_ ? head_->status : 0; }
  std::string content_type() const { return head_ ? head_->content_type : ""; }
  std::string header(const std::string& name) const {
    for (const auto& [key, value] : head_->headers) {
      if (key == name) return value;
    }
    return "";
  }
  std::string body() const {
    const std::lock_guard lock(mutex_);
    return body_;
  }
  Json json() const { return Json::parse(body()); }

  // The JSON of each event; the last one must be [DONE], which is left out.
  std::vector<Json> events() const {
    std::vector<Json> events;
    std::string rest = body();
    bool done = false;
    while (!rest.empty()) {
      const size_t end = rest.find("\n\n");
      if (!rest.starts_with("data: ") || end == std::string::npos || done)
        return {Json("not a stream: " + rest)};
      const std::string data = rest.substr(6, end - 6);
      rest.erase(0, end + 2);
      done = data == "[DONE]";
      if (!done) events.push_back(Json::parse(data));
    }
    if (!done) events.push_back("no [DONE]");
    return events;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<HttpResponse> head_;
  std::string body_;
  int num_answers_ = 0;
  bool complete_ = false;
  size_t unsent_ = 0;
  std::function<void()> gone_;
  std::function<void()> drained_;
};

// The small vocabulary; v2 and v3 have their control pieces behind it.
inline Vocabulary VocabularyOf(ChatVersion version) {
  Vocabulary vocabulary = testing_model::SmallVocabulary();
  if (version == ChatVersion::kV1) return vocabulary;
  for (const char* name : {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]",
                           "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"}) {
    vocabulary.pieces.push_back({name, 0, PieceType::kControl});
  }
  if (version == ChatVersion::kV2) return vocabulary;
  for (const char* name : {"[PREFIX]", "[MIDDLE]", "[SUFFIX]"})
    vocabulary.pieces.push_back({name, 0, PieceType::kControl});
  return vocabulary;
}

// A configuration with what it points to.
struct Served {
  explicit Served(std::optional<ChatVersion> version = ChatVersion::kV3)
      : tokenizer(VocabularyOf(version.value_or(ChatVersion::kV1)), "test"),
        small(testing_model::MakeSmallModel(0, 7, tokenizer.vocab_size())) {
    config.model = &small.config;
    config.tokenizer = &tokenizer;
    config.chat_version = version;
    config.model_id = "test-model";
    config.aliases = {"mistral-tiny"};
    config.created = 1700000000;
    config.context_length = 2048;
  }

  Tokenizer tokenizer;
  testing_model::SmallModel small;
  ApiConfig config;
};

// The status, field and code of the ApiError that `call` throws, as "422 n less_than_equal"; "none"
// when it throws nothing.
template <typename Call>
std::string Fault(Call call) {
  try {
    call();
  } catch (const ApiError& error) {
    std::string fault = std::to_string(error.status());
    for (const std::string& part : {error.param(), error.code()}) {
      if (!part.empty()) fault += " " + part;
    }
    return fault;
  }
  return "none";
}

}  // namespace cadre::testing_server
