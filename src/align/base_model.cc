#include "align/base_model.h"

#include "base/log.h"
#include "model/parameters.h"

namespace cadre {

BaseModel::BaseModel(const std::string& path) : opened_(OpenModel(path, TextNeed::kChat)) {
  for (const auto& warning : opened_.warnings) log::warn("{}", warning);
  chat_template_ =
      opened_.chat_template.empty() ? TemplateOf(*opened_.chat_version) : opened_.chat_template;
}

ModelConfig BaseModel::config() const {
  ModelConfig config = opened_.model.model().config;
  config.rope_layout = RopeLayout::kHalfSplit;
  return config;
}

void BaseModel::CopyWeights(std::span<float> arena) const {
  CopyToArena(opened_.model.model(), arena.data());
}

}  // namespace cadre
