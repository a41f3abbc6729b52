// An endless stream of samples out of several sources, by weight: a function of the seed and the
// place in it. Each source is gone through whole, in another order each time, before any of it
// comes again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cadre {

class Mixture {
 public:
  struct Source {
    int64_t samples = 0;
    double weight = 0;  // its share of the draws is weight / sum of weights
  };
  struct Draw {
    size_t source = 0;
    size_t sample = 0;
  };

  // At least one source; each has samples, and a weight above 0. Of the seed's streams, the orders
  // take those from `order_stream` on, 2^32 for each source.
  Mixture(std::vector<Source> sources, uint64_t seed, uint64_t order_stream = uint64_t{1} << 42);

  Draw Next();
  void Restart();
  int64_t draws() const { return draws_; }
  // How often the source drawn from most has been gone through.
  double Epochs() const;

 private:
  struct State {
    int64_t drawn = 0;
    std::vector<uint32_t> order;  // of the epoch that is being drawn
  };
  size_t DrawSource() const;

  std::vector<Source> sources_;
  std::vector<double> cumulative_;  // shares, up to and including each
  uint64_t seed_;
  uint64_t order_stream_;
  int64_t draws_ = 0;
  std::vector<State> states_;
};

}  // namespace cadre
