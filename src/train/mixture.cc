#include "train/mixture.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace cadre {
namespace {

// A stream of the run's seed that nothing else draws from.
constexpr uint64_t kSourceStream = uint64_t{1} << 41;

}  // namespace

Mixture::Mixture(std::vector<Source> sources, uint64_t seed, uint64_t order_stream)
    : sources_(std::move(sources)),
      seed_(seed),
      order_stream_(order_stream),
      states_(sources_.size()) {
  CADRE_CHECK(!sources_.empty());
  double total = 0;
  for (const auto& source : sources_) {
    CADRE_CHECK(source.samples > 0 && source.samples <= int64_t{UINT32_MAX} && source.weight > 0);
    total += source.weight;
    cumulative_.push_back(total);
  }
  for (double& share : cumulative_) share /= total;
}

void Mixture::Restart() {
  draws_ = 0;
  states_.assign(sources_.size(), {});
}

size_t Mixture::DrawSource() const {
  if (sources_.size() == 1) return 0;
  const double u = Random(seed_, kSourceStream, static_cast<uint64_t>(draws_)).NextDouble();
  const auto at = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, u);
  return static_cast<size_t>(at - cumulative_.begin());
}

Mixture::Draw Mixture::Next() {
  const size_t source = DrawSource();
  State& state = states_[source];
  const int64_t samples = sources_[source].samples;
  const int64_t place = state.drawn % samples;
  if (place == 0) {
    const int64_t epoch = state.drawn / samples;
    state.order.resize(static_cast<size_t>(samples));
    std::iota(state.order.begin(), state.order.end(), 0);
    Random random(seed_, order_stream_ + (static_cast<uint64_t>(source) << 32) +
                             static_cast<uint64_t>(epoch));
    for (size_t i = state.order.size(); i > 1; --i)
      std::swap(state.order[i - 1], state.order[random.NextBelow(i)]);
  }
  ++state.drawn;
  ++draws_;
  return {source, state.order[static_cast<size_t>(place)]};
}

double Mixture::Epochs() const {
  double most = 0;
  for (size_t s = 0; s < sources_.size(); ++s) {
    most = std::max(
        most, static_cast<double>(states_[s].drawn) / static_cast<double>(sources_[s].samples));
  }
  return most;
}

}  // namespace cadre
