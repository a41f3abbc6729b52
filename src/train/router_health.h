// Whether a layer's experts are in use: the entropy of their load, experts that get nothing, layers
// that have collapsed onto a few. A function of one step's loads; the alarm adds patience.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cadre {

struct RouterHealth {
  std::vector<double> load_entropy;        // [layers] as a share of ln E: 1 even, 0 one expert
  std::vector<std::vector<int64_t>> dead;  // [layers] experts below a hundredth of an even share
  std::vector<int64_t> collapsed;          // layers whose load entropy is below a half
  bool well() const;
};

// layer_load: [layers * E] choices per token or any multiple of it. A dense model is well.
RouterHealth ExamineLoad(std::span<const double> layer_load, int64_t num_experts);

// Speaks when the same trouble has lasted `patience` steps, and again only after it was gone.
class RouterAlarm {
 public:
  explicit RouterAlarm(int64_t patience = 50) : patience_(patience) {}

  // What there is to say after this step: a sentence for each layer; mostly nothing.
  std::vector<std::string> Watch(const RouterHealth& health);

 private:
  struct Lasting {
    std::vector<int64_t> dead;  // those that were dead in every one of `steps`
    int64_t steps = 0;
    int64_t collapsed_steps = 0;
  };
  int64_t patience_;
  std::vector<Lasting> layers_;
};

}  // namespace cadre
