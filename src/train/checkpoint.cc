#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
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

std::string NameOf(int64_t step) { return fmt::format("{}{:08}{}", kPrefix, step, kSuffix); }

void RemoveOld(const std::string& folder, const Schedule& schedule) {
  auto paths = Finished(folder);
  std::error_code none;
  for (size_t i = 0; i + kKept < paths.size(); ++i) {
    const bool is_stable_end = schedule.kind == ScheduleKind::kWsd &&
                               paths[i].filename() == NameOf(schedule.stable_until());
    if (!is_stable_end) fs::remove(paths[i], none);
  }
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

std::string DecayText(const Schedule& schedule) {
  return fmt::format("{} {}", schedule.stable_until(), schedule.steps);
}

int64_t IntegerOf(std::string_view text) {
  int64_t value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

int64_t StepOf(const std::map<std::string, std::string>& metadata) {
  const auto step = metadata.find("step");
  return step == metadata.end() ? -1 : IntegerOf(step->second);
}

// Whether the steps up to a checkpoint's have the rates that the schedule gives them.
bool IsOnSchedule(const std::map<std::string, std::string>& metadata, const Schedule& schedule) {
  const auto decay = metadata.find("decay");
  if (schedule.kind != ScheduleKind::kWsd || decay == metadata.end() ||
      decay->second == DecayText(schedule)) {
    return true;
  }
  return StepOf(metadata) <= std::min(IntegerOf(decay->second), schedule.stable_until());
}

// Throws Error for a file that is no checkpoint of this run.
void CheckCheckpoint(const SafetensorsFile& file, const std::string& path,
                     const std::string& fingerprint) {
  const auto config = file.metadata().find("config");
  if (StepOf(file.metadata()) < 0 || config == file.metadata().end())
    throw Error("{}: is not a training checkpoint", path);
  if (config->second != fingerprint) {
    throw Error(
        "{}: was made with another {}; start anew in another --out, or restore that setting", path,
        DifferentKey(fingerprint, config->second));
  }
}

void RestoreFrom(const SafetensorsFile& file, const std::string& path, Trainer& trainer,
                 RunProgress* progress) {
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
  trainer.set_step(StepOf(file.metadata()));
  const auto text = file.metadata().find("progress");
  if (progress != nullptr && text != file.metadata().end())
    *progress = ParseProgress(text->second, path);
}

}  // namespace

void TrainingCheckpoints::Save(Trainer& trainer, const std::string& fingerprint,
                               const RunProgress& progress) const {
  fs::create_directories(folder_);
  const std::string path = folder_ + "/" + NameOf(trainer.step());
  std::map<std::string, std::string> metadata = {{"step", std::to_string(trainer.step())},
                                                 {"config", fingerprint}};
  if (progress.best_step > 0) metadata["progress"] = ProgressText(progress);
  if (schedule_.kind == ScheduleKind::kWsd) metadata["decay"] = DecayText(schedule_);
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
  RemoveOld(folder_, schedule_);
}

bool TrainingCheckpoints::Any() const { return !Finished(folder_).empty(); }

bool TrainingCheckpoints::Restore(Trainer& trainer, const std::string& fingerprint,
                                  RunProgress* progress) const {
  const auto paths = Finished(folder_);
  if (paths.empty()) return false;
  size_t left = paths.size();
  while (left > 0) {
    const auto file = SafetensorsFile::Open(paths[left - 1]);
    CheckCheckpoint(file, paths[left - 1], fingerprint);
    if (IsOnSchedule(file.metadata(), schedule_)) {
      RestoreFrom(file, paths[left - 1], trainer, progress);
      break;
    }
    --left;
  }
  if (left == 0) {
    throw Error(
        "{}: was made in another decay of the learning rate, or beyond step {}, where it now "
        "begins, "
        "and none from before is left; restore train.steps and train.decay_steps, or start anew in "
        "another --out",
        paths.back().string(), schedule_.stable_until());
  }
  if (left == paths.size()) return true;
  log::info("the decay of the learning rate is another now: step {} comes after step {}",
            trainer.step() + 1, trainer.step());
  for (; left < paths.size(); ++left) fs::remove(paths[left]);
  if (progress != nullptr) *progress = {};
  return true;
}

}  // namespace cadre
