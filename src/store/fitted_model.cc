#include "store/fitted_model.h"

#include <malloc.h>

#include <algorithm>

#include "base/clock.h"
#include "base/huge_memory.h"
#include "base/log.h"
#include "model/activations.h"

namespace cadre {
namespace {

constexpr int kDepth = 8;                          // pieces of a file under way
constexpr int64_t kPieceBytes = int64_t{2} << 20;  // large enough for the disk's full speed
// Pages of the program that have not run yet, tables and lists that grow.
constexpr int64_t kProcessGrowth = int64_t{4} << 20;

struct Widths {
  int64_t cols = 0;       // of the widest matrix
  int64_t row_bytes = 0;  // of the longest row
  int64_t bytes = 0;      // of the largest matrix
};

Widths WidthsOf(const ModelWeights& weights) {
  Widths widths;
  const auto add = [&](const Weight& w) {
    widths.cols = std::max(widths.cols, w.cols);
    widths.row_bytes = std::max(widths.row_bytes, w.row_bytes());
    widths.bytes = std::max(widths.bytes, w.bytes());
  };
  for (const Weight* w : {&weights.embedding, &weights.head}) add(*w);
  for (const auto& layer : weights.layers) {
    for (const Weight* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.router}) add(*w);
    for (const auto& expert : layer.experts)
      for (const Weight* w : {&expert.w1, &expert.w2, &expert.w3}) add(*w);
  }
  return widths;
}

// More than any device keeps besides what it is given: the step's rows once more, rounded; per
// thread some rows of weights, decoded, and the sums of some panels; attention's blocks.
int64_t ScratchBytes(const ModelConfig& config, int64_t cols, int64_t tokens, int num_threads) {
  const int64_t shared_heads = config.num_heads / config.num_kv_heads;
  const int64_t padded_head = (config.head_dim + 15) / 16 * 16;
  const int64_t attention =
      4 * (padded_head * 64 + (8 + 128) * (shared_heads + 4) * (kKvBlock + padded_head + 2));
  const int64_t per_thread = 256 * cols + 256 * std::min<int64_t>(tokens, 512) + attention;
  const int64_t per_token = 4 * cols + 8 * config.num_heads + 4 * config.head_dim + 64;
  return tokens * per_token + num_threads * per_thread;
}

}  // namespace

// No longer than the largest matrix is worth, no shorter than its rows want.
LoaderOptions ReadingOf(const ModelWeights& weights) {
  const Widths widths = WidthsOf(weights);
  constexpr auto kAlignment = static_cast<int64_t>(WeightFiles::kDirectAlignment);
  const int64_t whole = (widths.bytes / kAlignment + 3) * kAlignment;
  const auto least = static_cast<int64_t>(Loader::LeastPieceBytes(widths.row_bytes));
  return {.piece_bytes = static_cast<size_t>(std::max(least, std::min(whole, kPieceBytes))),
          .depth = kDepth};
}

MemoryCosts CostsOf(const Model& model, const Device& device, int num_threads,
                    const RunNeeds& needs, KeptForm form) {
  const ModelConfig& config = model.config;
  const int64_t choices = needs.choices > 0 ? needs.choices : config.router.top_k;
  const LoaderOptions reading = ReadingOf(model.weights);
  MemoryCosts costs;
  costs.shared = SharedWeights::Bytes(model, form, device);
  costs.activations =
      Activations::InferenceBytes(config, needs.step_tokens, choices) +
      ScratchBytes(config, WidthsOf(model.weights).cols, needs.step_tokens, num_threads);
  costs.answers = 4 * needs.logit_rows * config.vocab_size + needs.other_bytes;
  costs.reading = static_cast<int64_t>(reading.piece_bytes) * reading.depth;
  costs.slot = SlotLayoutOf(model, form, device).bytes;
  costs.num_experts = config.num_layers * config.router.num_experts;
  return costs;
}

FittedModel::FittedModel(const LoadedModel& loaded, Device& device, Device& packer,
                         const RunNeeds& needs, const FitOptions& options)
    : model_(loaded.model()), files_(loaded.checkpoint()) {
  files_.ReleaseMaps();
  if (options.low_bit != nullptr) {
    CheckIsCopy(*options.low_bit, model_);
    WeightFiles(options.low_bit->checkpoint()).ReleaseMaps();
  }
  malloc_trim(0);
  MemoryCosts costs = CostsOf(model_, device, device.threads().num_threads(), needs, options.form);
  if (options.low_bit != nullptr)
    costs.low_bit = LowBitExperts::Bytes(options.low_bit->model(), options.form, device);
  costs.process = static_cast<int64_t>(ResidentMemory()) + kProcessGrowth;
  costs.peak = static_cast<int64_t>(PeakResidentMemory());
  plan_ = PlanMemory(options.budget, costs,
                     {.page_bytes = model_.config.kv_shape(options.kv_type).page_bytes(),
                      .least_pages = needs.least_pages,
                      .most_pages = needs.most_pages},
                     options.max_guesses);
  log::info("{}", plan_.ToText());
  const Stopwatch watch;
  if (options.low_bit != nullptr) {
    low_bit_ = std::make_unique<LowBitExperts>(*options.low_bit, model_, options.form, device,
                                               packer, MakeDiskIo(kDepth, options.try_uring),
                                               ReadingOf(options.low_bit->model().weights));
  }
  loader_ = std::make_unique<Loader>(files_, MakeDiskIo(kDepth, options.try_uring), packer,
                                     ReadingOf(model_.weights));
  // Finds the experts in the files by the weights as they were loaded.
  experts_ = std::make_unique<ExpertStore>(loaded.model(), files_, device, options.form, *loader_,
                                           ExpertStoreConfig{.slots = plan_.slots,
                                                             .guesses = plan_.guesses,
                                                             .policy = options.policy,
                                                             .misses = options.misses,
                                                             .low_bit = low_bit_.get()});
  shared_ = std::make_unique<SharedWeights>(model_, files_, device, options.form, *loader_);
  log::info("what stays in memory read in {:.1f} s", watch.Seconds());
}

}  // namespace cadre
