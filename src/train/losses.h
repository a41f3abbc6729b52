// What training adds to the cross-entropy so that experts stay in use and routers stay calm:
// balance, importance, load and z loss, and the gradients they and the gates pass to the router's
// logits. Each loss is the mean over the layers, so a coefficient means the same at any depth
// (one from a code that sums over them is to be multiplied by their number). Choices of experts are
// constants throughout.
#pragma once

#include <cstdint>
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

// The balance loss is a factor times sum_e f_e P_e, with P_e the mean over the rows of the softmax
// over all experts and f_e how often e is chosen per row, before anything is dropped.
enum class BalanceForm {
  kAllChoices,   // E sum f P; f counts every choice: k when balanced (transformers' Mixtral)
  kFirstChoice,  // E sum f P; f counts first choices: 1 when balanced (Switch, arXiv 2101.03961 eq.
                 // 4)
  kGshard,       // 1 / E sum f P; first choices: 1 / E^2 when balanced (arXiv 2006.16668 alg. 1)
};

// Coefficients; 0: that loss is not computed (the balance loss always is).
struct RouterLossConfig {
  double balance_coefficient = 0;
  BalanceForm balance_form = BalanceForm::kAllChoices;
  BalanceScope balance_scope = BalanceScope::kLayer;
  double importance_coefficient = 0;  // CV^2 of the summed gates (arXiv 1701.06538 eq. 7)
  double load_coefficient = 0;        // CV^2 of the smooth load (appendix A); needs the noise
  double z_coefficient = 0;       // mean of logsumexp(logits)^2 (ST-MoE, arXiv 2202.08906 eq. 5)
  double anchor_coefficient = 0;  // mean of KL(targets || softmax over all); needs targets
};

struct RouterLosses {
  double total = 0;  // each times its coefficient
  double balance = 0;
  double importance = 0;
  double load = 0;
  double z = 0;
  double anchor = 0;               // nats
  std::vector<double> layer_load;  // [layers * E] choices of each expert per row of its layer
  std::vector<double> drop_rate;   // [layers] share of the choices that found their expert full

  // For the gradients.
  RouterLossConfig config;
  std::span<const uint8_t> mask;     // [T]; empty: every row counts
  int64_t rows = 0;                  // that count, of all layers
  std::span<const float> targets;    // [layers, T, E] of the anchor
  std::vector<double> f;             // [layers * E] as each layer's gradient meets it
  std::vector<double> d_importance;  // [layers * E] d total / d summed gates; empty: no such loss
  std::vector<double> d_load;        // [layers * E] d total / d smooth load; empty: no such loss

  bool Counts(int64_t row) const { return mask.empty() || mask[static_cast<size_t>(row)] != 0; }
};

// Of a step whose FFNs were computed for every row. mask: [T], 0 for rows that no loss shall see
// (padding), which must outlive the result; empty for none. anchor_targets: [layers, T, E]
// probabilities, which must outlive it too. A dense model has no such losses.
RouterLosses ComputeRouterLosses(Activations& activations, const ModelConfig& config,
                                 const RouterLossConfig& losses, std::span<const uint8_t> mask = {},
                                 std::span<const float> anchor_targets = {});

// What the importance loss adds to d_gates [T, k].
void AddImportanceGradient(const RouterLosses& losses, int64_t layer, const Routing& routing,
                           Mat<float> d_gates);

// From d_gates [T, k] to d_logits [T, E] (added): the gradient of the softmax over the chosen, or
// over all experts.
void AddGateGradient(const Routing& routing, RouterSoftmax softmax, Mat<const float> d_gates,
                     Mat<float> d_logits);

// What the balance loss and the z loss add to d_logits [T, E].
void AddBalanceGradient(const RouterLosses& losses, int64_t layer, const Routing& routing,
                        Mat<float> d_logits);
void AddZGradient(const RouterLosses& losses, const LayerActivations& a, Mat<float> d_logits);

// And the anchor.
void AddAnchorGradient(const RouterLosses& losses, int64_t layer, const Routing& routing,
                       Mat<float> d_logits);

}  // namespace cadre
