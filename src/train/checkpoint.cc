#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".safetensors";
constexpr size_t kKept = 2;

// Finished checkpoints, oldest first.
std::vector<fs::path> Finished(const std::string& folder) {
  std::vector<fs::path> paths;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void RemoveOld(const std::string& folder) {
  auto paths = Finished(folder);
  std::error_code none;
  for (size_t i = 0; i + kKept < paths.size(); ++i) fs::remove(paths[i], none);
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    if (entry.path().filename().string().find(".tmp-") != std::string::npos)
      fs::remove(entry.path(), none);
  }
}

std::string DifferentKey(const std::string& ours, const std::string& theirs) {
  const Json a = Json::parse(ours, nullptr, false), b = Json::parse(theirs, nullptr, false);
  if (!a.is_object() || !b.is_object()) return "its configuration";
  for (const auto& [key, value] : a.items()) {
    if (!b.contains(key) || b[key] != value) return key;
  }
  for (const auto& [key, value] : b.items()) {
    if (!a.contains(key)) return key;
  }
  return "its configuration";
}

std::string ProgressText(const RunProgress& progress) {
  return OrderedJson{{"best_score", progress.best_score},
                     {"best_step", progress.best_step},
                     {"worse_since", progress.worse_since}}
      .dump();
}

RunProgress ParseProgress(const std::string& text, const std::string& name) {
  const Json json = ParseJson(text, name);
  constexpr int64_t kMany = int64_t{1} << 60;
  RunProgress progress;
  if (!json.is_object()) throw Error("{}: its progress must be a JSON object", name);
  progress.best_score = JsonNumber(json, "best_score", progress.best_score, name);
  progress.best_step = JsonInt(json, "best_step", 0, 0, kMany, name);
  progress.worse_since = JsonInt(json, "worse_since", 0, 0, kMany, name);
  return progress;
}

}  // namespace

void TrainingCheckpoints::Save(Trainer& trainer, const std::string& fingerprint,
                               const RunProgress& progress) const {
  fs::create_directories(folder_);
  const std::string path = fmt::format("{}/{}{:08}{}", folder_, kPrefix, trainer.step(), kSuffix);
  std::map<std::string, std::string> metadata = {{"step", std::to_string(trainer.step())},
                                                 {"config", fingerprint}};
  if (progress.best_step > 0) metadata["progress"] = ProgressText(progress);
  SafetensorsWriter writer(path, metadata);
  const std::pair<const char*, std::span<float>> arenas[] = {{"weights", trainer.weights()},
                                                             {"moment1", trainer.moment1()},
                                                             {"moment2", trainer.moment2()}};
  for (const auto& [name, values] : arenas) {
    const int64_t shape[] = {static_cast<int64_t>(values.size())};
    writer.Declare(name, DType::kF32, shape);
  }
  for (const auto& [name, values] : arenas) writer.Append(std::as_bytes(values));
  writer.Commit();
  RemoveOld(folder_);
}

bool TrainingCheckpoints::Any() const { return !Finished(folder_).empty(); }

bool TrainingCheckpoints::Restore(Trainer& trainer, const std::string& fingerprint,
                                  RunProgress* progress) const {
  const auto paths = Finished(folder_);
  if (paths.empty()) return false;
  const std::string path = paths.back();
  const auto file = SafetensorsFile::Open(path);
  const auto& metadata = file.metadata();
  const auto step_text = metadata.find("step"), config = metadata.find("config");
  int64_t step = -1;
  if (step_text != metadata.end()) {
    const auto& text = step_text->second;
    std::from_chars(text.data(), text.data() + text.size(), step);
  }
  if (step < 0 || config == metadata.end()) throw Error("{}: is not a training checkpoint", path);
  if (config->second != fingerprint) {
    throw Error(
        "{}: was made with another {}; start anew in another --out, or restore that setting", path,
        DifferentKey(fingerprint, config->second));
  }
  const std::pair<const char*, std::span<float>> arenas[] = {{"weights", trainer.weights()},
                                                             {"moment1", trainer.moment1()},
                                                             {"moment2", trainer.moment2()}};
  for (const auto& [name, values] : arenas) {
    const auto* entry = file.Find(name);
    if (entry == nullptr || entry->type != SafetensorsType::kF32 ||
        entry->data.size() != values.size_bytes()) {
      throw Error("{}: {} does not fit the model of this run", path, name);
    }
    std::memcpy(values.data(), entry->data.data(), values.size_bytes());
  }
  trainer.set_step(step);
  const auto progress_text = metadata.find("progress");
  if (progress != nullptr && progress_text != metadata.end())
    *progress = ParseProgress(progress_text->second, path);
  return true;
}

}  // namespace cadre
