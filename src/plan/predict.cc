#include "plan/predict.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/sequence.h"

namespace cadre {
namespace {

class Predictor {
 public:
  Predictor(const Model& model, const Machine& machine, const RunShape& run, const MemoryPlan& plan,
            const RoutingStatistics& routing)
      : model_(model), machine_(machine), run_(run), plan_(plan), routing_(routing) {}

  Prediction Run(CachePolicy policy, uint64_t seed);

 private:
  bool fetches() const { return plan_.slots < plan_.costs.num_experts; }
  double Product(const Weight& w, int64_t tokens) const {
    return machine_.products.Seconds(w.type, w.rows, w.cols, tokens);
  }
  StepCosts CostsOf(int64_t tokens, int64_t wanted, double rest,
                    const std::vector<std::vector<int32_t>>& needed) const;
  LayerCosts ReadingOf(const ExpertWeights& expert) const;
  double PackSeconds(const Weight& w) const;
  std::vector<std::vector<int32_t>> NeededByPrompt(int64_t begin, int64_t count, bool ends) const;
  std::vector<std::vector<int32_t>> NeededByStep(int64_t token) const;
  double Prompt(FetchTimeline& timeline, int64_t begin) const;
  double Generate(FetchTimeline& timeline, int64_t begin, double& bytes) const;
  double LoadSeconds() const;
  double BytesOf(const std::vector<std::vector<int32_t>>& needed) const;

  const Model& model_;
  const Machine& machine_;
  const RunShape& run_;
  const MemoryPlan& plan_;
  const RoutingStatistics& routing_;
};

std::array<const Weight*, 3> MatricesOf(const ExpertWeights& expert) {
  return {&expert.w1, &expert.w2, &expert.w3};
}

std::array<const Weight*, 4> MatricesOf(const LayerWeights& layer) {
  return {&layer.wq, &layer.wk, &layer.wv, &layer.wo};
}

double Bytes(const Weight& w) { return static_cast<double>(w.bytes()); }

double Predictor::PackSeconds(const Weight& w) const {
  const auto rate = machine_.pack_bytes_per_s.find(w.type);
  return rate == machine_.pack_bytes_per_s.end() ? 0 : Bytes(w) / rate->second;
}

// Packing hides behind the disk unless one thread packs more slowly than that.
LayerCosts Predictor::ReadingOf(const ExpertWeights& expert) const {
  LayerCosts costs;
  if (!fetches()) return costs;
  CADRE_CHECK(machine_.disk.needed > 0 && machine_.disk.guessed > 0);
  double bytes = 0, pack = 0;
  for (const Weight* w : MatricesOf(expert)) {
    bytes += Bytes(*w);
    pack += PackSeconds(*w);
  }
  costs.read = std::max(bytes / machine_.disk.needed, pack);
  costs.guessed_read = std::max(bytes / machine_.disk.guessed, pack);
  return costs;
}

// Rows spread evenly over the experts that a layer needs.
StepCosts Predictor::CostsOf(int64_t tokens, int64_t wanted, double rest,
                             const std::vector<std::vector<int32_t>>& needed) const {
  StepCosts costs;
  for (size_t l = 0; l < model_.weights.layers.size(); ++l) {
    const LayerWeights& layer = model_.weights.layers[l];
    const ExpertWeights& expert = layer.experts[0];
    LayerCosts cost = ReadingOf(expert);
    const bool last = l + 1 == model_.weights.layers.size();
    cost.shared = last && wanted < tokens ? rest * machine_.rest.narrow_share : rest;
    for (const Weight* w : MatricesOf(layer)) cost.shared += Product(*w, tokens);
    // In the last layer only the rows whose logits are wanted go on.
    const int64_t ffn_tokens = last ? wanted : tokens;
    if (layer.router.rows > 0)
      cost.shared += Product(layer.router, std::max<int64_t>(1, ffn_tokens));
    const auto count = static_cast<double>(std::max<size_t>(1, needed[l].size()));
    const double rows = static_cast<double>(ffn_tokens * model_.config.router.top_k) / count;
    for (const Weight* w : MatricesOf(expert))
      cost.expert += Product(*w, std::max<int64_t>(1, std::llround(rows)));
    costs.layers.push_back(cost);
  }
  if (wanted > 0) costs.rest = Product(model_.weights.head, wanted);
  return costs;
}

std::vector<std::vector<int32_t>> Predictor::NeededByPrompt(int64_t begin, int64_t count,
                                                            bool ends) const {
  std::vector<std::vector<int32_t>> needed;
  const int64_t last = model_.config.num_layers - 1;
  for (int64_t l = 0; l < last; ++l) needed.push_back(routing_.trace.Union(l, begin, count));
  needed.push_back(ends ? routing_.trace.At(last, begin + count - 1) : std::vector<int32_t>());
  return needed;
}

// A token of each sequence, from places of the trace far from each other.
std::vector<std::vector<int32_t>> Predictor::NeededByStep(int64_t token) const {
  const int64_t apart = std::max<int64_t>(1, routing_.trace.num_tokens() / run_.batch);
  std::vector<std::vector<int32_t>> needed;
  for (int64_t l = 0; l < model_.config.num_layers; ++l) {
    std::vector<int32_t>& all = needed.emplace_back();
    for (int64_t s = 0; s < run_.batch; ++s) {
      const auto& chosen = routing_.trace.At(l, token + s * apart);
      all.insert(all.end(), chosen.begin(), chosen.end());
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
  }
  return needed;
}

double Predictor::Prompt(FetchTimeline& timeline, int64_t begin) const {
  double seconds = 0;
  const int64_t chunk = Sequence::kChunk;
  for (int64_t at = 0; at < run_.prompt; at += chunk) {
    const int64_t count = std::min(chunk, run_.prompt - at);
    const bool ends = at + count == run_.prompt;
    const double place = run_.prompt <= chunk
                             ? 0
                             : static_cast<double>(at) / static_cast<double>(run_.prompt - count);
    const LayerRest& rest = machine_.rest;
    const double rest_s = (rest.first_chunk + place * (rest.last_chunk - rest.first_chunk)) *
                          static_cast<double>(count) /
                          static_cast<double>(std::min(chunk, run_.prompt));
    const auto needed = NeededByPrompt(begin + at, count, ends);
    const bool all = count * model_.config.router.top_k >= 2 * model_.config.router.num_experts;
    seconds += timeline.Step(CostsOf(count, ends ? 1 : 0, rest_s, needed), needed, all);
  }
  return seconds;
}

double Predictor::Generate(FetchTimeline& timeline, int64_t begin, double& bytes) const {
  double seconds = 0;
  for (int64_t n = 0; n < run_.generate; ++n) {
    const auto needed = NeededByStep(begin + n);
    bytes += BytesOf(needed);
    const bool all =
        run_.batch * model_.config.router.top_k >= 2 * model_.config.router.num_experts;
    seconds +=
        timeline.Step(CostsOf(run_.batch, run_.batch, machine_.rest.step, needed), needed, all);
  }
  return seconds;
}

double Predictor::BytesOf(const std::vector<std::vector<int32_t>>& needed) const {
  double bytes = Bytes(model_.weights.head);
  for (size_t l = 0; l < needed.size(); ++l) {
    const LayerWeights& layer = model_.weights.layers[l];
    for (const Weight* w : MatricesOf(layer)) bytes += Bytes(*w);
    for (const Weight* w : MatricesOf(layer.experts[0]))
      bytes += static_cast<double>(needed[l].size()) * Bytes(*w);
  }
  return bytes;
}

// Shared weights, and the experts where all stay; read once, packed by all threads where nothing
// is fetched and by the reading thread alone where something is.
double Predictor::LoadSeconds() const {
  double bytes = 0, pack = 0;
  const auto add = [&](const Weight& w) {
    bytes += Bytes(w);
    pack += PackSeconds(w);
  };
  for (const auto& layer : model_.weights.layers) {
    for (const Weight* w : MatricesOf(layer)) add(*w);
    if (plan_.budget > 0) continue;
    for (const auto& expert : layer.experts)
      for (const Weight* w : MatricesOf(expert)) add(*w);
  }
  add(model_.weights.head);
  bytes += Bytes(model_.weights.embedding);
  const double read = machine_.disk.needed > 0 ? bytes / machine_.disk.needed : 0;
  return plan_.budget > 0 ? std::max(read, pack) : read + pack / machine_.threads;
}

// A cycle as in bench: the first warms the cache up, the second counts.
Prediction Predictor::Run(CachePolicy policy, uint64_t seed) {
  const ModelConfig& config = model_.config;
  const LayerCosts reading = ReadingOf(model_.weights.layers[0].experts[0]);
  double pack = 0;
  for (const Weight* w : MatricesOf(model_.weights.layers[0].experts[0])) pack += PackSeconds(*w);
  FetchTimeline timeline(
      {.num_layers = config.num_layers,
       .num_experts = config.router.num_experts,
       .slots = plan_.slots,
       .guesses = plan_.guesses,
       .policy = policy,
       .foreseen = routing_.foreseen,
       .packing_share = reading.read > 0 ? std::min(.9, pack / reading.read / machine_.threads) : 0,
       .seed = seed});
  Prediction prediction;
  double ignored = 0;
  if (!fetches()) Prompt(timeline, 0);  // all are in place
  const double first = Prompt(timeline, 0);
  Generate(timeline, run_.prompt, ignored);
  const int64_t again = run_.prompt + run_.generate;
  const double prompt = Prompt(timeline, again);
  const FetchCounts before = timeline.counts();
  double bytes = 0;
  const double generate = Generate(timeline, again + run_.prompt, bytes);
  const FetchCounts& after = timeline.counts();
  prediction.first_token_s = first;
  prediction.load_s = LoadSeconds();
  prediction.prompt_tokens_per_s = static_cast<double>(run_.prompt) / prompt;
  if (run_.generate == 0) return prediction;
  const auto steps = static_cast<double>(run_.generate);
  const double tokens = steps * static_cast<double>(run_.batch);
  prediction.generate_tokens_per_s = tokens / generate;
  prediction.bytes_per_step = bytes / steps;
  if (!fetches()) return prediction;
  const auto hits = static_cast<double>(after.hits - before.hits);
  const auto misses = static_cast<double>(after.misses - before.misses);
  if (hits + misses > 0) prediction.hit_rate = hits / (hits + misses);
  double expert_bytes = 0;
  for (const Weight* w : MatricesOf(model_.weights.layers[0].experts[0])) expert_bytes += Bytes(*w);
  prediction.disk_bytes_per_token =
      (after.experts_read - before.experts_read) * expert_bytes / tokens;
  prediction.waiting_share = (after.waited - before.waited) / generate;
  return prediction;
}

}  // namespace

Prediction Predict(const Model& model, const Machine& machine, const RunShape& run,
                   const MemoryPlan& plan, const RoutingStatistics& routing, CachePolicy policy,
                   uint64_t seed) {
  CADRE_CHECK(run.prompt > 0 && run.generate >= 0 && run.batch > 0);
  return Predictor(model, machine, run, plan, routing).Run(policy, seed);
}

}  // namespace cadre
