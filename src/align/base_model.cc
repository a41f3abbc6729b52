#include "align/base_model.h"

#include <filesystem>

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

std::vector<std::string> PathsOf(const DataSource& source, const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& file : source.files)
    paths.push_back((std::filesystem::path(folder) / file).string());
  return paths;
}

}  // namespace cadre
