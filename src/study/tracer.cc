#include "study/tracer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "model/kv_cache.h"

namespace cadre {
namespace {

constexpr int64_t kStepRows = 512;  // of one Forward
constexpr size_t kNumDistances = RoutingTrace::kDistances.size();

// What some layers' routers said in advance of the rows of a step.
class Foresight {
 public:
  Foresight(const Model& model, Device& device)
      : model_(&model),
        device_(&device),
        router_{.num_experts = model.config.router.num_experts,
                .top_k = std::min(RoutingTrace::kMostFetched, model.config.router.num_experts)},
        guesses_(kNumDistances * static_cast<size_t>(model.config.num_layers)) {}

  // Asks the later layers' routers about x_mid [T, d] of a layer, each behind its own norm.
  void Look(int64_t layer, Mat<const float> x_mid) {
    for (size_t d = 0; d < kNumDistances; ++d) {
      const int64_t target = layer + RoutingTrace::kDistances[d];
      if (target < model_->config.num_layers) Ask(target, x_mid, GuessesOf(d, target));
    }
  }

  // Adds to hits[f - 1] the choices of a row that were among the first f guesses; does nothing
  // where the target has no layer that many before it.
  void Count(size_t d, int64_t target, int64_t row, std::span<const int32_t> chosen,
             int64_t* hits) const {
    if (target < RoutingTrace::kDistances[d]) return;
    const Routing& guessed = guesses_[d * num_layers() + static_cast<size_t>(target)];
    const auto guesses = guessed.experts.row_span(row);
    for (const int32_t expert : chosen) {
      const auto rank = std::find(guesses.begin(), guesses.end(), expert) - guesses.begin();
      for (int64_t f = rank; f < RoutingTrace::kMostFetched; ++f) ++hits[f];
    }
  }

 private:
  size_t num_layers() const { return static_cast<size_t>(model_->config.num_layers); }
  Routing& GuessesOf(size_t d, int64_t target) {
    return guesses_[d * num_layers() + static_cast<size_t>(target)];
  }

  void Ask(int64_t target, Mat<const float> x_mid, Routing& guesses) {
    const LayerWeights& w = model_->weights.layers[static_cast<size_t>(target)];
    h_.Reserve(x_mid.rows * x_mid.cols);
    logits_.Reserve(x_mid.rows * router_.num_experts);
    const Mat<float> h(h_.data(), x_mid.rows, x_mid.cols);
    const Mat<float> logits(logits_.data(), x_mid.rows, router_.num_experts);
    device_->RmsNorm(x_mid, w.ffn_norm, model_->config.rms_norm_eps, h);
    device_->MatMul(h, w.router, ActivationType::kF32, logits);
    guesses.Reserve(x_mid.rows, router_);
    guesses.SetTokens(x_mid.rows, router_);
    ChooseExperts(logits, router_, {}, guesses);
  }

  const Model* model_;
  Device* device_;
  RouterConfig router_;
  Buffer<float> h_;
  Buffer<float> logits_;
  std::vector<Routing> guesses_;  // [kDistances, layers]
};

// Entropy in nats of probabilities that sum to one.
float EntropyOf(std::span<const float> probs) {
  double entropy = 0;
  for (const float p : probs) {
    if (p > 0) entropy -= static_cast<double>(p) * std::log(static_cast<double>(p));
  }
  return static_cast<float>(entropy);
}

// ln p of the last chosen less ln p of the best not chosen: the softmax keeps differences of
// logits. 0 where all are chosen.
float MarginOf(std::span<const float> probs, std::span<const int32_t> chosen) {
  constexpr float kLeast = 1e-30f;
  float best = -1;
  for (size_t e = 0; e < probs.size(); ++e) {
    const bool is_chosen =
        std::find(chosen.begin(), chosen.end(), static_cast<int32_t>(e)) != chosen.end();
    if (!is_chosen) best = std::max(best, probs[e]);
  }
  if (best < 0) return 0;
  const float last = probs[static_cast<size_t>(chosen.back())];
  return std::log(std::max(last, kLeast)) - std::log(std::max(best, kLeast));
}

class Tracer {
 public:
  Tracer(const Model& model, ExpertSource& experts, Device& device, const SequenceConfig& config,
         int32_t bos_id, RoutingTrace& trace)
      : model_(model),
        experts_(experts),
        device_(device),
        config_(config),
        bos_id_(bos_id),
        trace_(trace),
        pool_(model.config.kv_shape(config.kv_type)),
        activations_(model.config, Activations::Keep::kOneLayer),
        foresight_(model, device) {
    for (auto& layer : trace_.layers) ReserveLayer(layer);
    logits_.Reserve(model.config.vocab_size);
  }

  bool RunWindow(int64_t document, const RoutingTrace::Window& window,
                 const std::atomic<bool>* cancelled) {
    document_ = document;
    window_ids_.clear();
    if (bos_id_ >= 0) window_ids_.push_back(bos_id_);
    num_bos_ = std::ssize(window_ids_);
    window_ids_.insert(window_ids_.end(), trace_.ids.begin() + window.begin,
                       trace_.ids.begin() + window.end);
    KvCache cache(pool_);
    for (int64_t begin = 0; begin < std::ssize(window_ids_); begin += kStepRows) {
      if (cancelled != nullptr && *cancelled) return false;
      RunStep(begin, std::min(begin + kStepRows, std::ssize(window_ids_)), cache);
    }
    return true;
  }

 private:
  void ReserveLayer(RoutingTrace::Layer& layer) const {
    const auto tokens = static_cast<size_t>(trace_.num_tokens());
    layer.experts.reserve(tokens * static_cast<size_t>(trace_.top_k));
    layer.gates.reserve(tokens * static_cast<size_t>(trace_.top_k));
    layer.entropy.reserve(tokens);
    layer.margin.reserve(tokens);
    layer.foreseen.resize(kNumDistances * trace_.documents.size() * RoutingTrace::kMostFetched);
  }

  void RunStep(int64_t begin, int64_t end, KvCache& cache) {
    const auto count = static_cast<size_t>(end - begin);
    const auto ids = std::span(window_ids_).subspan(static_cast<size_t>(begin), count);
    positions_.resize(count);
    std::iota(positions_.begin(), positions_.end(), begin);
    sequence_of_row_.assign(count, 0);
    cache.Reserve(end);
    const KvSequence sequence = cache.view();
    const int64_t last_row = end - begin - 1;  // the head wants something to do
    const Batch batch{.ids = ids,
                      .positions = positions_,
                      .sequence_of_row = sequence_of_row_,
                      .sequences = {&sequence, 1},
                      .kv_type = config_.kv_type,
                      .wanted_rows = {&last_row, 1},
                      .router_limits = {}};
    const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
      Note(layer, routing, begin == 0 ? num_bos_ : 0);
      foresight_.Look(layer, activations_.layer(layer).x_mid);
    };
    const ForwardOptions options{
        .activation = config_.activation, .observer = &observer, .dropout = {}};
    Forward(model_, experts_, device_, batch, options, activations_,
            {logits_.data(), 1, model_.config.vocab_size});
  }

  void Note(int64_t l, const Routing& routing, int64_t first_row) {
    RoutingTrace::Layer& layer = trace_.layers[static_cast<size_t>(l)];
    for (int64_t row = 0; row < routing.experts.rows; ++row) {
      const auto chosen = routing.experts.row_span(row);
      if (std::find(chosen.begin(), chosen.end(), -1) != chosen.end())
        throw Error("layer {}: the router's logits are no numbers", l);
      if (row < first_row) {
        layer.bos_experts.assign(chosen.begin(), chosen.end());
        continue;
      }
      const auto gates = routing.gates.row_span(row);
      const auto probs = routing.probs.row_span(row);
      layer.experts.insert(layer.experts.end(), chosen.begin(), chosen.end());
      layer.gates.insert(layer.gates.end(), gates.begin(), gates.end());
      layer.entropy.push_back(EntropyOf(probs));
      layer.margin.push_back(MarginOf(probs, chosen));
      for (size_t d = 0; d < kNumDistances; ++d) {
        const size_t place = d * trace_.documents.size() + static_cast<size_t>(document_);
        foresight_.Count(d, l, row, chosen,
                         layer.foreseen.data() + place * RoutingTrace::kMostFetched);
      }
    }
  }

  const Model& model_;
  ExpertSource& experts_;
  Device& device_;
  SequenceConfig config_;
  int32_t bos_id_;
  RoutingTrace& trace_;
  KvPagePool pool_;
  Activations activations_;
  Foresight foresight_;
  Buffer<float> logits_;

  // Of the window.
  int64_t document_ = 0;
  int64_t num_bos_ = 0;
  std::vector<int32_t> window_ids_;
  std::vector<int64_t> positions_;
  std::vector<int32_t> sequence_of_row_;
};

void CheckModel(const ModelConfig& config, const TraceOptions& options, const RoutingTrace& trace) {
  if (config.router.dense()) throw Error("the model is dense: it has no routers to study");
  int32_t highest = options.bos_id;
  for (const int32_t id : trace.ids) highest = std::max(highest, id);
  if (highest >= config.vocab_size) {
    throw Error("token id is {} but must be from 0 to {}", highest, config.vocab_size - 1);
  }
}

}  // namespace

bool TraceRouting(const Model& model, ExpertSource& experts, Device& device,
                  const SequenceConfig& config, const TraceOptions& options, RoutingTrace& trace) {
  CheckModel(model.config, options, trace);
  trace.num_experts = model.config.router.num_experts;
  trace.top_k = model.config.router.top_k;
  trace.layers.assign(static_cast<size_t>(model.config.num_layers), {});
  Tracer tracer(model, experts, device, config, options.bos_id, trace);
  int64_t done = 0;
  for (size_t d = 0; d < trace.documents.size(); ++d) {
    for (const auto& window : trace.WindowsOf(trace.documents[d])) {
      if (!tracer.RunWindow(static_cast<int64_t>(d), window, options.cancelled)) return false;
      if (options.on_progress) options.on_progress(++done, std::ssize(trace.windows));
    }
  }
  return true;
}

}  // namespace cadre
