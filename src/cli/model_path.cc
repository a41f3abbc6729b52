#include "cli/model_path.h"

#include <filesystem>

#include "base/error.h"

namespace cadre {

namespace fs = std::filesystem;

std::vector<std::string> BundledModelFolders() {
  std::error_code error;
  const fs::path program = fs::canonical("/proc/self/exe", error);
  if (error) return {};
  const fs::path folder = program.parent_path();
  return {(folder.parent_path().parent_path() / "models").string(),
          (folder.parent_path() / "share" / "cadre" / "models").string()};
}

std::string ResolveModel(const std::string& model, const std::vector<std::string>& folders) {
  std::error_code ignored;
  if (fs::exists(model, ignored)) return model;
  const bool is_name =
      !model.empty() && model.find('/') == std::string::npos && model != "." && model != "..";
  for (const auto& folder : folders) {
    if (is_name && fs::is_directory(fs::path(folder) / model, ignored))
      return (fs::path(folder) / model).string();
  }
  throw Error("model '{}' is neither a file nor a folder{}", Printable(model, 200),
              is_name ? " nor the name of a bundled model" : "");
}

}  // namespace cadre
