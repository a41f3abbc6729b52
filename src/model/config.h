// What a model of the family is: the numbers of Mixtral, Mistral and Llama as one struct, checked
// once; config_files.h reads it. Dense models are the one-expert
// case. Source: transformers configuration_mixtral.py, configuration_mistral.py; llama.cpp
// llama-arch.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/device.h"

namespace cadre {

enum class RouterSoftmax {
  kChosen,  // over the chosen experts only, so gates sum to one (Mixtral)
  kAll,     // over all experts, gates not renormalised (Switch)
};

// One router serves them all: Mixtral {8, 2, kChosen}, Switch {E, 1, kAll, cf, jitter}, noisy top-k
// {E, k, kChosen, .noise = true}, dense {1, 1}. The first three fields say what a model is and are
// saved with it; the rest is how it is trained, and zero wherever a model is only run.
struct RouterConfig {
  int64_t num_experts = 1;
  int64_t top_k = 1;
  RouterSoftmax softmax = RouterSoftmax::kChosen;
  double capacity_factor =
      0;             // rows per expert <= ceil(factor * rows * top_k / num_experts); 0: never drop
  float jitter = 0;  // the router reads its input times U(1 - jitter, 1 + jitter), elementwise
  bool noise = false;  // N(0, 1) * (softplus(x W_noise) + noise_floor) is added to the logits
  float noise_floor = 0.01f;
  bool second_by_lot = false;  // of top_k 2: second choices run by chance (model/router_noise.h)

  // A dense model has no router weight; its one expert takes every token with gate 1.
  bool dense() const { return num_experts == 1; }
  // Gates are shares of the softmax over all experts and do not sum to one (Switch).
  bool unnormalised() const { return !dense() && softmax == RouterSoftmax::kAll; }
  // The same router as it runs outside training: nothing is dropped, nothing is random.
  RouterConfig ForInference() const {
    return {.num_experts = num_experts, .top_k = top_k, .softmax = softmax};
  }
};

// The architecture of a sparse model whose gates are not renormalised. A name of its own, in
// config.json and in GGUF, since every program that knows "mixtral" would renormalise them.
inline constexpr const char* kUnnormalisedArchitecture = "cadre_moe";

struct ModelConfig {
  std::string architecture = "mixtral";  // mixtral, mistral, llama or cadre_moe
  int64_t dim = 0;                       // d
  int64_t hidden_dim = 0;                // f, per expert
  int64_t num_layers = 0;
  int64_t num_heads = 0;     // H
  int64_t num_kv_heads = 0;  // K, divides H
  int64_t head_dim = 0;      // D, even
  int64_t vocab_size = 0;
  int64_t context_length = 0;
  int64_t sliding_window = 0;  // keys a query sees, itself included; 0: all
  double rope_theta = 0;
  float rms_norm_eps = 1e-5f;
  bool tie_embeddings = false;
  RopeLayout rope_layout = RopeLayout::kHalfSplit;
  RouterConfig router;
  double router_aux_loss_coef = 0;
  int32_t bos_id = 1;
  std::vector<int32_t> eos_ids = {2};

  int64_t q_dim() const { return num_heads * head_dim; }
  int64_t kv_dim() const { return num_kv_heads * head_dim; }
  KvShape kv_shape(KvType type) const { return {type, num_layers, num_kv_heads, head_dim}; }

  // Every weight, and those one token is multiplied with (chosen experts only; an untied embedding
  // counts in both).
  int64_t TotalParameters() const;
  int64_t ActiveParameters() const;

  // Throws Error naming `name` (the file), the field, what it is and what it must be.
  void Validate(const std::string& name) const;
};

// What looks wrong without being impossible: a known shape with another theta, window or vocabulary
// than published. A sentence each, for the user.
std::vector<std::string> SuspiciousSettings(const ModelConfig& config);

// theta^(-2i/D) for i in [0, D/2).
std::vector<double> RopeFrequencies(const ModelConfig& config);

}  // namespace cadre
