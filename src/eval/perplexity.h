// How well a model predicts a text, and how far another artefact of it (a quantisation, say) is
// from it: perplexity, Kullback-Leibler divergence, agreement of the first choice and of the
// routers. The windows are those of llama.cpp's perplexity tool, so that figures can be compared.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "eval/mean.h"

namespace cadre {

// One model as a function from a window of ids to logits and router choices. Not thread-safe.
// Model, experts and device must outlive it.
class WindowScorer {
 public:
  WindowScorer(const Model& model, ExpertSource& experts, Device& device,
               const SequenceConfig& config);

  // [ids - begin, vocab]: after the ids from `begin` (at least 1) on; valid until the next call. An
  // empty matrix: cancelled.
  Mat<const float> Logits(std::span<const int32_t> ids, int64_t begin,
                          const std::atomic<bool>* cancelled);
  // [ids, k] what layer l's router chose in that call.
  Mat<const int32_t> Choices(int64_t l) const;

  const ModelConfig& config() const { return model_->config; }
  Device& device() { return *device_; }

 private:
  const Model* model_;
  Device* device_;
  Sequence sequence_;
  Buffer<float> logits_;
  std::vector<std::vector<int32_t>> choices_;  // per layer
};

struct PerplexityOptions {
  int64_t context = 512;  // ids in a window
  int32_t bos_id = -1;    // takes the place of each window's first id; -1: nothing does
  std::function<void(int64_t done_windows, int64_t total_windows)> on_progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

struct PerplexityResult {
  int64_t tokens = 0;  // predicted
  MeanAndError loss;   // -ln p of the token that came
  double perplexity = 0;
  double perplexity_error = 0;

  // Against the reference; only with one.
  double reference_perplexity = 0;
  MeanAndError kl;  // sum of p_reference ln(p_reference / p)
  double kl_max = 0;
  MeanAndError top1_agreement;  // share of tokens whose likeliest next token is the same
  // Share of the chosen experts that the reference chose too, over all tokens of all windows; per
  // layer. Empty where one of the two has no router or another number of layers or experts.
  std::vector<double> routing_agreement;
};

// Cuts `ids` into windows of options.context (a shorter text is one window; a rest is left out) and
// predicts the second half of each from what comes before. `reference` may be null. Throws Error
// for fewer than four ids (in the text or a window), or vocabularies of two sizes. Cancelled: the
// result so far.
PerplexityResult Perplexity(WindowScorer& model, WindowScorer* reference,
                            std::span<const int32_t> ids, const PerplexityOptions& options);

}  // namespace cadre
