#include "eval/generation.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/random.h"

namespace cadre {
namespace {

EngineConfig ConfigOf(const GeneratorLimits& limits) {
  EngineConfig config;
  config.sequence = limits.sequence;
  config.context_length = limits.context_length;
  config.kv_bytes = limits.kv_bytes;
  config.max_running = limits.shares ? limits.parallel : 1;
  config.max_queued = int64_t{1} << 20;  // all samples of a prompt are asked for at once
  config.prefix_cache = limits.shares;
  config.speculation = limits.shares;
  return config;
}

Request RequestOf(const GenerationPrompt& prompt, int sample) {
  Request request;
  request.prompt_ids = prompt.ids;
  request.stops = prompt.stops;
  request.max_tokens = prompt.max_tokens;
  request.leading_space = prompt.leading_space;
  request.sampler = {.temperature = prompt.temperature,
                     .top_p = prompt.top_p,
                     .seed = SampleSeed(prompt.seed, sample)};
  return request;
}

// One call of Run: what is on its way, and what has come out of turn.
class GenerationRun {
 public:
  GenerationRun(Engine& engine, int64_t max_active, size_t begin, size_t end,
                const TextGenerator::PromptOf& prompt, const TextGenerator::Take& take,
                const std::atomic<bool>* cancelled)
      : engine_(engine),
        max_active_(max_active),
        end_(end),
        prompt_(prompt),
        take_(take),
        cancelled_(cancelled),
        next_asked_(begin),
        next_taken_(begin) {}

  // The engine's thread may still tell of what was submitted.
  ~GenerationRun() {
    for (const RequestId id : submitted_) engine_.Cancel(id);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return num_active_ == 0; });
  }

  bool Run() {
    while (next_taken_ < end_) {
      if (cancelled_ != nullptr && *cancelled_) return false;
      Submit();
      Wait();
      TakeWhatIsDone();
    }
    return true;
  }

 private:
  struct Prompt {
    std::vector<GeneratedText> samples;
    int open = 0;  // samples that have not ended
    std::string error;
  };

  // As many as keep the engine busy. An item's samples follow each other, so they share its prompt.
  void Submit() {
    while (next_asked_ < end_ && HasRoom()) {
      const GenerationPrompt prompt = prompt_(next_asked_);
      CADRE_CHECK(prompt.samples >= 1);
      {
        const std::lock_guard lock(mutex_);
        Prompt& waiting = waiting_[next_asked_];
        waiting.samples.resize(static_cast<size_t>(prompt.samples));
        waiting.open = prompt.samples;
      }
      for (int sample = 0; sample < prompt.samples; ++sample) SubmitSample(prompt, sample);
      ++next_asked_;
    }
  }

  bool HasRoom() {
    const std::lock_guard lock(mutex_);
    return num_active_ < max_active_;
  }

  void SubmitSample(const GenerationPrompt& prompt, int sample) {
    {
      const std::lock_guard lock(mutex_);
      ++num_active_;
    }
    const size_t index = next_asked_;
    try {
      const auto submission =
          engine_.Submit(RequestOf(prompt, sample), [this, index, sample](RequestEvent event) {
            Hear(index, static_cast<size_t>(sample), std::move(event));
          });
      CADRE_CHECK(submission.admission == Admission::kAdmitted);
      submitted_.push_back(submission.id);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      --num_active_;
      throw;
    }
  }

  // On the engine's thread.
  void Hear(size_t index, size_t sample, RequestEvent event) {
    const std::lock_guard lock(mutex_);
    Prompt& prompt = waiting_[index];
    GeneratedText& text = prompt.samples[sample];
    text.text += event.text;
    for (const auto& token : event.tokens) text.ids.push_back(token.id);
    if (!event.end) return;
    text.reason = event.end->reason;
    if (text.reason == FinishReason::kError) prompt.error = event.end->error;
    --prompt.open;
    --num_active_;
    changed_.notify_all();
  }

  void Wait() {
    using namespace std::chrono_literals;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 100ms, [&] {
      const auto next = waiting_.find(next_taken_);
      const bool is_ready = next != waiting_.end() && next->second.open == 0;
      return is_ready || (num_active_ < max_active_ && next_asked_ < end_);
    });
  }

  void TakeWhatIsDone() {
    while (next_taken_ < next_asked_) {
      Prompt done;
      {
        const std::lock_guard lock(mutex_);
        const auto next = waiting_.find(next_taken_);
        if (next->second.open > 0) return;
        done = std::move(next->second);
        waiting_.erase(next);
      }
      if (!done.error.empty()) throw Error("item {}: {}", next_taken_ + 1, done.error);
      take_(next_taken_++, std::move(done.samples));
    }
  }

  Engine& engine_;
  const int64_t max_active_;
  const size_t end_;
  const TextGenerator::PromptOf& prompt_;
  const TextGenerator::Take& take_;
  const std::atomic<bool>* cancelled_;
  size_t next_asked_;
  size_t next_taken_;
  std::vector<RequestId> submitted_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<size_t, Prompt> waiting_;  // asked for and not taken
  int64_t num_active_ = 0;            // requests that have not ended
};

}  // namespace

TextGenerator::TextGenerator(const Model& model, ExpertSource& experts, Device& device,
                             const Tokenizer& tokenizer, const GeneratorLimits& limits)
    : parallel_(limits.shares ? limits.parallel : 1),
      engine_(model, experts, device, tokenizer, ConfigOf(limits)) {}

bool TextGenerator::Run(size_t begin, size_t end, const PromptOf& prompt, const Take& take,
                        const std::atomic<bool>* cancelled) {
  return GenerationRun(engine_, parallel_, begin, end, prompt, take, cancelled).Run();
}

uint64_t SampleSeed(uint64_t seed, int sample) {
  if (sample == 0) return seed;
  return Random(seed, static_cast<uint64_t>(sample)).NextU64();
}

uint64_t PromptSeed(uint64_t seed, size_t index) {
  return Random(seed, 0, static_cast<uint64_t>(index)).NextU64();
}

}  // namespace cadre
