#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "base/compressed.h"
#include "base/error.h"
#include "eval/tasks/data_files.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

bool IsData(const std::string& path) {
  const std::string_view name = UncompressedName(path);
  return name.ends_with(".jsonl") || name.ends_with(".json") || name.ends_with(".csv");
}

std::string Stem(const std::string& path) {
  return fs::path(UncompressedName(path)).stem().string();
}

// A file's name, but for the task's: HumanEval's is no validation set.
std::string KeyWithoutTask(const Task& task, const std::string& path) {
  std::string key = TaskKey(Stem(path));
  for (const std::string_view word : task.keys) {
    const size_t at = key.find(word);
    if (at != std::string::npos) key.erase(at, word.size());
  }
  return key;
}

// What the words of a file's name say, if anything.
bool IsOf(const Task& task, const std::string& path, std::initializer_list<const char*> words) {
  const std::string key = KeyWithoutTask(task, path);
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return key.find(word) != std::string::npos; });
}

bool IsOf(const Task& task, const std::string& path, Split split) {
  switch (split) {
    case Split::kTest:
      return IsOf(task, path, {"test"});
    case Split::kValidation:
      return IsOf(task, path, {"val", "dev"});
    case Split::kTrain:
      return IsOf(task, path, {"train"});
  }
  return false;
}

bool SaysItsSplit(const Task& task, const std::string& path) {
  return IsOf(task, path, {"test", "val", "dev", "train"});
}

bool IsOfTask(const Task& task, const std::string& path) {
  const std::string key = TaskKey(Stem(path));
  return std::any_of(task.keys.begin(), task.keys.end(),
                     [&](std::string_view word) { return key.find(word) != std::string::npos; });
}

std::vector<std::string> DataIn(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->is_regular_file() && IsData(it->path().string())) files.push_back(it->path().string());
  }
  if (error) throw Error("{}: cannot be listed: {}", folder, error.message());
  std::sort(files.begin(), files.end());
  return files;
}

std::string NamesOf(const std::vector<std::string>& files) {
  std::string names;
  for (size_t i = 0; i < files.size() && i < 6; ++i)
    names += (i == 0 ? "" : ", ") + fs::path(files[i]).filename().string();
  return files.empty() ? "none" : names + (files.size() > 6 ? ", ..." : "");
}

// *_test.csv and the like, in the folder or in the one below it that is called after the split.
std::vector<std::string> SubjectFiles(const std::string& folder, const char* split) {
  std::vector<std::string> files;
  for (const fs::path& place : {fs::path(folder), fs::path(folder) / split}) {
    if (!fs::is_directory(place)) continue;
    for (const auto& file : DataIn(place.string())) {
      if (UncompressedName(file).ends_with(fmt::format("_{}.csv", split))) files.push_back(file);
    }
    if (!files.empty()) break;
  }
  return files;
}

// NUMBER.json in the folder, or in test/ below it, and in the folders of that: by folder, then by
// number.
std::vector<std::string> ItemFiles(const std::string& folder) {
  const fs::path test = fs::path(folder) / "test";
  std::vector<std::pair<std::string, int64_t>> found;  // folder, number
  std::error_code error;
  fs::recursive_directory_iterator it(fs::is_directory(test) ? test : fs::path(folder), error), end;
  for (; !error && it != end; it.increment(error)) {
    if (!it->is_regular_file() || it->path().extension() != ".json") continue;
    const std::string stem = it->path().stem().string();
    int64_t number = 0;
    const auto parsed = std::from_chars(stem.data(), stem.data() + stem.size(), number);
    if (parsed.ec == std::errc() && parsed.ptr == stem.data() + stem.size() &&
        std::to_string(number) == stem)
      found.emplace_back(it->path().parent_path().string(), number);
  }
  if (error) throw Error("{}: cannot be listed: {}", folder, error.message());
  std::sort(found.begin(), found.end());
  std::vector<std::string> files;
  for (const auto& [place, number] : found)
    files.push_back(fmt::format("{}/{}.json", place, number));
  return files;
}

// Those of the task, or the only one there is.
std::vector<std::string> FilesOfTask(const Task& task, const std::string& folder) {
  const auto all = DataIn(folder);
  std::vector<std::string> files;
  std::copy_if(all.begin(), all.end(), std::back_inserter(files),
               [&](const std::string& file) { return IsOfTask(task, file); });
  return files.empty() ? all : files;
}

std::vector<std::string> OfSplit(const Task& task, const std::vector<std::string>& files,
                                 Split split) {
  std::vector<std::string> found;
  std::copy_if(files.begin(), files.end(), std::back_inserter(found),
               [&](const std::string& file) { return IsOf(task, file, split); });
  return found;
}

std::vector<std::string> FindItems(const Task& task, const std::string& folder) {
  if (task.csv == CsvForm::kMmlu) {
    auto subjects = SubjectFiles(folder, "test");
    if (!subjects.empty()) return subjects;
  }
  if (task.in_a_file_each) {
    auto items = ItemFiles(folder);
    if (!items.empty()) return items;
  }
  const auto files = FilesOfTask(task, folder);
  if (task.in_many_files && !files.empty()) return files;
  auto found = OfSplit(task, files, task.split);
  if (found.empty()) {
    std::copy_if(files.begin(), files.end(), std::back_inserter(found),
                 [&](const std::string& file) { return !SaysItsSplit(task, file); });
  }
  if (found.size() != 1) {
    throw Error("{}: must hold one file of {} but holds {}: name the file", folder, task.title,
                NamesOf(found.empty() ? files : found));
  }
  return found;
}

// The split that examples come from, else what is evaluated on where there is a test set too.
std::vector<std::string> FindShots(const Task& task, const std::string& folder,
                                   const std::vector<std::string>& items) {
  if (task.csv == CsvForm::kMmlu) {
    auto subjects = SubjectFiles(folder, "dev");
    if (subjects.empty()) subjects = SubjectFiles(fs::path(folder).parent_path().string(), "dev");
    const bool is_csv = UncompressedName(items.front()).ends_with(".csv");
    if (!subjects.empty() && is_csv) return subjects;
  }
  std::vector<std::string> files = FilesOfTask(task, folder);
  std::erase_if(files, [&](const std::string& file) {
    return std::find(items.begin(), items.end(), file) != items.end();
  });
  auto found = OfSplit(task, files, task.shots_split);
  if (found.empty() && task.split == Split::kTest) found = OfSplit(task, files, Split::kValidation);
  if (found.size() > 1) {
    throw Error("{}: holds {} with examples for {}: name one with --shots-data", folder,
                NamesOf(found), task.title);
  }
  return found;
}

}  // namespace

DataFiles FindDataFiles(const Task& task, const std::string& data, const std::string& shots) {
  DataFiles files;
  std::string folder = data;
  if (fs::is_directory(data)) {
    files.items = FindItems(task, data);
  } else {
    files.items = {data};
    folder = fs::path(data).parent_path().string();
    if (folder.empty()) folder = ".";
  }
  if (shots.empty()) {
    const bool may_look = fs::is_directory(data) || (task.default_shots > 0 && fs::exists(data));
    if (may_look) files.shots = FindShots(task, folder, files.items);
  } else if (!fs::is_directory(shots)) {
    files.shots = {shots};
  } else {
    files.shots = FindShots(task, shots, {""});
    if (files.shots.empty() && task.csv == CsvForm::kMmlu) files.shots = SubjectFiles(shots, "dev");
    if (files.shots.empty())
      throw Error("{}: holds no file with examples for {}", shots, task.title);
  }
  return files;
}

}  // namespace cadre
