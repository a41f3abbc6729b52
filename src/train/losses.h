// What training adds to the cross-entropy: keeping the experts in use.
#pragma once

#include <span>
#include <vector>

#include "model/activations.h"

namespace cadre {

// What the loads and mean probabilities of the balance loss are taken over.
enum class BalanceScope {
  kLayer,  // each layer for itself; the loss is the mean over the layers (Switch, MegaBlocks)
  kModel,  // the rows of all layers together, as transformers' load_balancing_loss_func: then one
           // layer's imbalance can cancel another's, and experts of a layer can fall idle
};

// The load-balancing loss: E * sum_e f_e P_e with f_e = choices of expert e per row (so the f sum
// to k) and P_e the mean router probability. k when balanced. Source: Switch, arXiv 2101.03961
// eq. 4.
struct BalanceLoss {
  double value = 0;
  int64_t rows = 0;                // layers * tokens
  std::vector<double> layer_load;  // [layers * E] choices of each expert per row of its layer
  std::vector<double> load;        // [layers * E] f_e as each layer's gradient meets it
};

BalanceLoss ComputeBalanceLoss(Activations& activations, const ModelConfig& config,
                               BalanceScope scope);

// Adds coefficient * d value / d router_logits of one layer (the loads are constants) to d_logits
// [T, E].
void AddBalanceGradient(const BalanceLoss& loss, double coefficient, int64_t layer,
                        const Routing& routing, Mat<float> d_logits);

// From d_gates [T, k] to d_logits [T, E] (added): the gradient of the softmax over the chosen, or
// over all experts.
void AddGateGradient(const Routing& routing, RouterSoftmax softmax, Mat<const float> d_gates,
                     Mat<float> d_logits);

}  // namespace cadre
