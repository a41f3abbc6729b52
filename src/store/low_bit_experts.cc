#include "store/low_bit_experts.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace cadre {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kReadAhead = 4096;  // kernels fetch a little ahead of what they read

std::array<Weight*, 3> MatricesOf(ExpertWeights& expert) {
  return {&expert.w1, &expert.w2, &expert.w3};
}

int64_t PaddedBytes(const Weight& w, KeptForm form, const Device& device) {
  return (KeptBytes(w, form, device) + kAlignment - 1) / kAlignment * kAlignment;
}

// Norms are in no quantisation anything but what they were, and no two trained models share them.
bool HasSameNorms(const Model& copy, const Model& model) {
  for (size_t l = 0; l < model.weights.layers.size(); ++l) {
    const LayerWeights& ours = model.weights.layers[l];
    const LayerWeights& other = copy.weights.layers[l];
    if (!std::ranges::equal(ours.attn_norm, other.attn_norm) ||
        !std::ranges::equal(ours.ffn_norm, other.ffn_norm))
      return false;
  }
  return true;
}

}  // namespace

void CheckIsCopy(const LoadedModel& copy, const Model& model) {
  const std::string& name = copy.checkpoint().path();
  const ModelConfig &other = copy.model().config, &ours = model.config;
  struct Size {
    const char* name;
    int64_t is, wanted;
  };
  const Size sizes[] = {
      {"layers", other.num_layers, ours.num_layers},
      {"experts in a layer", other.router.num_experts, ours.router.num_experts},
      {"values in a hidden state", other.dim, ours.dim},
      {"values within an expert", other.hidden_dim, ours.hidden_dim},
  };
  for (const Size& size : sizes) {
    if (size.is != size.wanted)
      throw Error("{}: has {} {} but the model has {}: it is no copy of it", name, size.is,
                  size.name, size.wanted);
  }
  if (!HasSameNorms(copy.model(), model))
    throw Error("{}: its norms are not the model's: it is a copy of another one", name);
}

int64_t LowBitExperts::Bytes(const Model& copy, KeptForm form, const Device& device) {
  int64_t bytes = kReadAhead;
  for (const auto& layer : copy.weights.layers) {
    for (const auto& expert : layer.experts)
      for (const Weight* w : {&expert.w1, &expert.w2, &expert.w3})
        bytes += PaddedBytes(*w, form, device);
  }
  return bytes;
}

LowBitExperts::LowBitExperts(const LoadedModel& copy, const Model& model, KeptForm form,
                             const Device& device, Device& packer, std::unique_ptr<DiskIo> io,
                             const LoaderOptions& reading)
    : memory_(static_cast<size_t>(Bytes(copy.model(), form, device))) {
  WeightFiles files(copy.checkpoint());
  Loader loader(files, std::move(io), packer, reading);
  std::byte* to = memory_.data();
  for (size_t l = 0; l < copy.model().weights.layers.size(); ++l) {
    auto& experts = layers_.emplace_back(copy.model().weights.layers[l].experts);
    for (size_t e = 0; e < experts.size(); ++e) {
      ExpertWeights ours = model.weights.layers[l].experts[e];
      const auto matrices = MatricesOf(experts[e]), of_model = MatricesOf(ours);
      Load load;
      load.num_matrices = 3;
      for (size_t m = 0; m < 3; ++m) {
        Weight& w = *matrices[m];
        const auto place = files.Find(w.data);
        CADRE_CHECK(place.has_value());
        const bool packs = IsKeptPacked(w, form, device);
        load.matrices[m] = {.shape = w, .from = *place, .packs = packs, .to = to};
        PointTo(to, packs, w);
        w.low_rank = of_model[m]->low_rank;  // adapters are added to either
        to += PaddedBytes(w, form, device);
      }
      loader.Start(load, Urgency::kNeeded);
      loader.Wait(load);
    }
  }
}

}  // namespace cadre
