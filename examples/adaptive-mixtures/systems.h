// What learns the task: mixtures of linear experts under the three error functions of Jacobs,
// Jordan, Nowlan and Hinton, "Adaptive Mixtures of Local Experts", Neural Computation 3 (1991), and
// one network of hidden units with as many weights. The mixture's gate is Cadre's router, its
// gradient the one that trains Mixtral.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vowels.h"

namespace mixtures {

enum class ErrorFunction {
  kCooperative,  // |d - sum p_i o_i|^2: experts correct each other's rest
  kCompetitive,  // sum p_i |d - o_i|^2: each expert answers alone (the paper's eq. 1.2)
  kLikelihood,   // -log sum p_i exp(-|d - o_i|^2 / 2): so, and the best fitting learns first (1.3)
};

// What a system says of T cases.
struct Answers {
  std::vector<float> output;   // [T] above 0: on the edge
  std::vector<float> gates;    // [T, E] by expert; empty for the network
  std::vector<float> opinion;  // [T, E] each expert's own output; likewise
};

class System {
 public:
  virtual ~System() = default;
  virtual std::string name() const = 0;
  virtual int64_t num_weights() const = 0;
  virtual int num_experts() const { return 0; }
  // One pass over all cases and one step of Adam.
  virtual void Learn(const Cases& cases) = 0;
  // experts: how many of them answer a case, as top-k of a sparse model; 0: all.
  virtual Answers Ask(const Cases& cases, int experts = 0) = 0;
};

std::unique_ptr<System> MakeMixture(ErrorFunction error, int num_experts, uint64_t seed);
// 3 h + h + 1 weights: h hidden tanh units, one linear output.
std::unique_ptr<System> MakeNetwork(int hidden, uint64_t seed);

// The share of cases whose side is right.
double Accuracy(const Cases& cases, const Answers& answers);

}  // namespace mixtures
