#include "hub/repository.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

constexpr size_t kMaxFiles = 100'000;
constexpr size_t kMaxPathBytes = 1024;
constexpr int64_t kMaxFileBytes = int64_t{1} << 50;

bool IsNamePart(std::string_view part) {
  return !part.empty() && part.size() <= 100 && part != "." && part != ".." &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

// Stays below the folder it is joined to, and is the same file on every system.
bool IsSafePath(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return std::all_of(path.begin(), path.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '\\' && c != ':';
  });
}

// What downloads and conversions call their unfinished files: a file of that name would be taken
// for the beginning of another one, and is no part of a model.
bool IsUnfinishedName(std::string_view path) {
  return path.ends_with(".partial") || path.ends_with(".partial.chunks") ||
         path.ends_with(".partial.synced");
}

RemoteFile ParseFile(const Json& json, const std::string& name) {
  if (!json.is_object()) throw Error("{}: the hub lists a file that is no object", name);
  RemoteFile file;
  file.path = JsonString(json, "rfilename", "", name);
  if (!IsSafePath(file.path)) {
    throw Error("{}: the hub lists a file called '{}', which is no plain relative path", name,
                Printable(file.path));
  }
  const std::string what = name + "/" + file.path;
  file.size = static_cast<uint64_t>(JsonInt(json, "size", 0, 0, kMaxFileBytes, what));
  file.digest = JsonString(json, "blobId", "", what);
  file.digest_kind = DigestKind::kGitBlob;
  const auto lfs = json.find("lfs");
  if (lfs != json.end() && lfs->is_object()) {
    file.digest_kind = DigestKind::kSha256;
    file.digest = JsonString(*lfs, "sha256", "", what);
    file.size = static_cast<uint64_t>(
        JsonInt(*lfs, "size", static_cast<int64_t>(file.size), 0, kMaxFileBytes, what));
  }
  if (!IsDigest(file.digest_kind, file.digest)) throw Error("{}: the hub gives no checksum", what);
  return file;
}

bool IsWeights(const std::string& path) {
  return path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json");
}

// Small files at the top that belong to any layout.
bool IsConfiguration(const std::string& path) {
  if (path.find('/') != path.npos || IsWeights(path)) return false;
  return path.ends_with(".json") || path.ends_with(".jinja") || path == "tokenizer.model" ||
         path.starts_with("tokenizer.model.") || path == "LICENSE" || path == "README.md";
}

// "model-00001-of-00003.gguf" and its siblings are one model called "model".
std::string GgufModelName(const std::string& path) {
  const std::string stem = path.substr(0, path.size() - 5);
  // -00001-of-00003
  if (stem.size() > 15 && MatchesPattern("-?????"
                                         "-of-?????",
                                         stem.substr(stem.size() - 15)))
    return stem.substr(0, stem.size() - 15);
  return stem;
}

}  // namespace

bool MatchesPattern(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = pattern.npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p, ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

void CheckRepositoryName(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == name.npos || !IsNamePart(std::string_view(name).substr(0, slash)) ||
      !IsNamePart(std::string_view(name).substr(slash + 1))) {
    throw Error(
        "'{}' is no repository: it must be OWNER/NAME, as in "
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        Printable(name, 200));
  }
}

Repository ParseRepository(const Json& json, const std::string& name) {
  if (!json.is_object()) throw Error("{}: the hub's answer is no JSON object", name);
  Repository repository;
  repository.commit = JsonString(json, "sha", "", name);
  if (!IsDigest(DigestKind::kGitBlob, repository.commit))
    throw Error("{}: the hub's answer names no commit", name);
  const auto files = json.find("siblings");
  if (files == json.end() || !files->is_array() || files->size() > kMaxFiles)
    throw Error("{}: the hub's answer lists no files", name);
  std::set<std::string> seen;
  for (const auto& entry : *files) {
    RemoteFile file = ParseFile(entry, name);
    if (!seen.insert(file.path).second)
      throw Error("{}: the hub lists {} twice", name, Printable(file.path));
    if (!IsUnfinishedName(file.path)) repository.files.push_back(std::move(file));
  }
  return repository;
}

std::vector<RemoteFile> ChooseFiles(const Repository& repository,
                                    const std::vector<std::string>& patterns,
                                    const std::string& name) {
  std::vector<RemoteFile> chosen;
  const auto take = [&](const auto& wanted) {
    for (const auto& file : repository.files)
      if (wanted(file.path)) chosen.push_back(file);
  };
  if (!patterns.empty()) {
    take([&](const std::string& path) {
      return std::any_of(patterns.begin(), patterns.end(),
                         [&](const auto& pattern) { return MatchesPattern(pattern, path); });
    });
    if (chosen.empty()) throw Error("{}: no file matches", name);
    return chosen;
  }
  const auto weights = [](const char* stem) {
    return [stem](const std::string& path) {
      return path.starts_with(stem) && IsWeights(path) && path.find('/') == path.npos;
    };
  };
  take(weights("model"));
  if (chosen.empty()) take(weights("consolidated"));
  if (chosen.empty()) {
    std::set<std::string> models;
    for (const auto& file : repository.files)
      if (file.path.ends_with(".gguf")) models.insert(GgufModelName(file.path));
    if (models.size() > 1) {
      std::string names;
      for (const auto& model : models) names += "\n  " + Printable(model) + "*.gguf";
      throw Error("{}: holds {} GGUF models; choose one with --include:{}", name, models.size(),
                  names);
    }
    take([](const std::string& path) { return path.ends_with(".gguf"); });
  }
  if (chosen.empty()) throw Error("{}: holds no safetensors and no GGUF file", name);
  take(IsConfiguration);
  return chosen;
}

}  // namespace cadre
