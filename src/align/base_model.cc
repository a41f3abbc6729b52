#include "align/base_model.h"

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "model/parameters.h"

namespace cadre {

BaseModel::BaseModel(const std::string& path, const std::string& lora)
    : path_(path), opened_(OpenModel(path, TextNeed::kChat)) {
  for (const auto& warning : opened_.warnings) log::warn("{}", warning);
  chat_template_ =
      opened_.chat_template.empty() ? TemplateOf(*opened_.chat_version) : opened_.chat_template;
  if (!lora.empty()) adapters_ = LoadAdapters(lora, model());
  beginning_ = adapters_ ? adapters_->Bind() : model();
}

ModelConfig BaseModel::config() const {
  ModelConfig config = opened_.model.model().config;
  config.rope_layout = RopeLayout::kHalfSplit;
  return config;
}

void BaseModel::CopyWeights(std::span<float> arena) const {
  CopyToArena(opened_.model.model(), arena.data());
}

std::string BaseModel::HashWeights(Trainer& trainer) const {
  const std::string trained = Sha256(std::as_bytes(trainer.weights()));
  if (trainer.layout().adapters().empty()) return trained;
  uint64_t bytes = 0;
  for (const auto& tensor : opened_.model.checkpoint().Tensors()) bytes += tensor.data.size();
  Digest digest(DigestKind::kSha256, bytes);
  for (const auto& tensor : opened_.model.checkpoint().Tensors()) digest.Add(tensor.data);
  return digest.Finish() + " " + trained;
}

namespace {

void CheckPrecision(const BaseModel& base, const TuneConfig& config) {
  if (config.optimiser.precision == ActivationType::kF32) return;
  if (!IsQuantised(base.model().weights.layers[0].experts[0].w1.type)) return;
  throw Error(
      "{}: its matrices are quantised, beside which train.precision bf16 would round tokens to 8 "
      "bits: leave it f32",
      config.model);
}

}  // namespace

std::unique_ptr<Trainer> MakeTrainer(const BaseModel& base, const TuneConfig& config,
                                     Device& device, BackwardOps& ops) {
  if (!config.trains_adapters()) {
    auto trainer = std::make_unique<Trainer>(base.config(), config.optimiser, device, ops);
    base.CopyWeights(trainer->weights());
    return trainer;
  }
  CheckPrecision(base, config);
  const ParameterLayout layout =
      base.adapters() ? base.adapters()->layout
                      : ParameterLayout(base.model(), AdaptersFor(base.config(), config.lora));
  auto trainer = std::make_unique<Trainer>(layout, config.optimiser, device, ops);
  if (base.adapters()) {
    std::copy_n(base.adapters()->values.data(), layout.size(), trainer->weights().data());
  } else {
    InitialiseAdapters(layout, config.seed, trainer->weights().data());
  }
  log::info("{:.1f} million values of adapters are trained", double(layout.size()) / 1e6);
  return trainer;
}

}  // namespace cadre
