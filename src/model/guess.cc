#include "model/guess.h"

#include <algorithm>
#include <array>

namespace cadre {
namespace {

constexpr int64_t kMaxGuesses = 64;

// Every row's best, then every row's second, and so on.
class Guesses {
 public:
  bool full() const { return count_ == kMaxGuesses; }
  std::span<const int32_t> all() const { return {experts_.data(), static_cast<size_t>(count_)}; }

  void Add(int32_t expert) {
    const auto end = experts_.begin() + count_;
    if (!full() && std::find(experts_.begin(), end, expert) == end)
      experts_[static_cast<size_t>(count_++)] = expert;
  }

 private:
  int64_t count_ = 0;
  std::array<int32_t, kMaxGuesses> experts_;
};

// The index of the rank-th largest; ties to the lower one.
int32_t Ranked(std::span<const float> logits, int64_t rank) {
  for (size_t e = 0; e < logits.size(); ++e) {
    int64_t above = 0;
    for (size_t other = 0; other < logits.size(); ++other)
      above += logits[other] > logits[e] || (logits[other] == logits[e] && other < e) ? 1 : 0;
    if (above == rank) return static_cast<int32_t>(e);
  }
  return 0;  // numbers that are none: any guess will do
}

void GuessByRouter(const Model& model, const LayerWeights& next, int64_t top_k, Device& device,
                   LayerActivations& a, Guesses& guesses) {
  device.RmsNorm(a.x_mid, next.ffn_norm, model.config.rms_norm_eps, a.moe_out);
  device.MatMul(a.moe_out, next.router, ActivationType::kF32, a.router_logits);
  for (int64_t rank = 0; rank < top_k; ++rank) {
    for (int64_t row = 0; row < a.moe_out.rows && !guesses.full(); ++row)
      guesses.Add(Ranked(a.router_logits.row_span(row), rank));
  }
}

}  // namespace

void GuessNextLayer(const Model& model, int64_t layer, ExpertSource& experts, Device& device,
                    LayerActivations& a) {
  const RouterConfig& router = model.config.router;
  if (!experts.wants_guesses() || layer + 1 == model.config.num_layers) return;
  Guesses guesses;
  const int64_t choices = a.moe_out.rows * router.top_k;
  if (router.dense() || choices >= 2 * router.num_experts) {
    for (int64_t e = 0; e < router.num_experts; ++e) guesses.Add(static_cast<int32_t>(e));
  } else {
    const LayerWeights& next = model.weights.layers[static_cast<size_t>(layer) + 1];
    GuessByRouter(model, next, router.top_k, device, a, guesses);
  }
  experts.Guess(layer + 1, guesses.all());
}

}  // namespace cadre
