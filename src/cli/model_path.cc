#include "cli/model_path.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace cadre {

namespace fs = std::filesystem;

namespace {

// NAME, or OWNER/NAME, of plain words.
bool IsModelName(const std::string& model) {
  int slashes = 0;
  for (const char c : model) slashes += c == '/';
  if (model.empty() || slashes > 1 || model.front() == '/' || model.back() == '/') return false;
  for (const auto& part : fs::path(model))
    if (part == "." || part == "..") return false;
  return true;
}

}  // namespace

std::vector<std::string> BundledModelFolders() {
  std::error_code error;
  const fs::path program = fs::canonical("/proc/self/exe", error);
  if (error) return {};
  const fs::path folder = program.parent_path();
  return {(folder.parent_path().parent_path() / "models").string(),
          (folder.parent_path() / "share" / "cadre" / "models").string()};
}

std::string PulledModelFolder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string data = variable("XDG_DATA_HOME"), home = variable("HOME");
  if (data.empty() && home.empty()) return "";
  const fs::path base = data.empty() ? fs::path(home) / ".local" / "share" : fs::path(data);
  return (base / "cadre" / "models").string();
}

std::vector<std::string> ModelFolders() {
  auto folders = BundledModelFolders();
  folders.push_back(PulledModelFolder());
  return folders;
}

std::string ResolveModel(const std::string& model, const std::vector<std::string>& folders) {
  std::error_code ignored;
  if (fs::exists(model, ignored)) return model;
  const bool is_name = IsModelName(model);
  for (const auto& folder : folders) {
    if (is_name && !folder.empty() && fs::is_directory(fs::path(folder) / model, ignored))
      return (fs::path(folder) / model).string();
  }
  throw Error("model '{}' is neither a file nor a folder{}", Printable(model, 200),
              is_name ? " nor the name of a bundled or pulled model" : "");
}

}  // namespace cadre
