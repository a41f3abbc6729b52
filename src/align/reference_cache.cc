#include "align/reference_cache.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

std::string LineOf(const ReferencePair& pair) {
  return OrderedJson{pair.chosen, pair.rejected}.dump() + "\n";
}

struct Contents {
  OrderedJson key;
  std::vector<ReferencePair> pairs;
};

// Whole lines until one that a kill or a crash has left wrong. An empty key: there is no file, or
// not one of ours.
Contents Read(const std::string& path) {
  Contents contents;
  std::error_code none;
  if (!fs::exists(path, none)) return contents;
  const MappedFile file(path);
  std::string_view text = file.text();
  for (bool is_first = true; !text.empty(); is_first = false) {
    const size_t end = text.find('\n');
    if (end == text.npos) break;
    const OrderedJson line = OrderedJson::parse(text.substr(0, end), nullptr, false);
    text.remove_prefix(end + 1);
    if (is_first) {
      if (!line.is_object()) break;
      contents.key = line;
    } else {
      if (!line.is_array() || line.size() != 2 || !line[0].is_number() || !line[1].is_number())
        break;
      contents.pairs.push_back({line[0].get<double>(), line[1].get<double>()});
    }
  }
  return contents;
}

std::string DifferingKey(const OrderedJson& ours, const OrderedJson& theirs) {
  for (const auto& [key, value] : ours.items())
    if (!theirs.contains(key) || theirs[key] != value) return key;
  return "number of pairs";
}

std::string TextOf(const OrderedJson& key, const std::vector<ReferencePair>& pairs) {
  std::string text = key.dump() + "\n";
  for (const auto& pair : pairs) text += LineOf(pair);
  return text;
}

// The unfinished file: what is done so far, and more behind it.
class PartialFile {
 public:
  PartialFile(std::string path, const std::string& text) : path_(std::move(path)) {
    WriteFileAtomically(path_, text);
    file_.reset(std::fopen(path_.c_str(), "a"));
    if (file_ == nullptr) throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
  }

  void Append(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
        std::fflush(file_.get()) != 0)
      throw Error("{}: writing failed: {}", path_, std::strerror(errno));
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace

std::optional<std::vector<ReferencePair>> CachedReference(const std::string& path,
                                                          const OrderedJson& key, int64_t pairs,
                                                          int64_t together, bool must_fit,
                                                          const ReferenceComputation& compute,
                                                          const std::atomic<bool>* stop) {
  Contents kept = Read(path);
  if (kept.key == key && std::ssize(kept.pairs) == pairs) {
    log::info("{}: log-probabilities of the reference, read", path);
    return std::move(kept.pairs);
  }
  if (!kept.key.is_null()) {
    const std::string differs = DifferingKey(key, kept.key);
    if (must_fit) {
      throw Error("{}: is of another {} than this run; it cannot go on with another reference",
                  path, differs);
    }
    log::warn("{}: is of another {}; the reference is computed anew", path, differs);
  }
  const std::string partial_path = path + ".partial";
  Contents partial = Read(partial_path);
  if (partial.key != key || std::ssize(partial.pairs) > pairs) partial.pairs.clear();
  std::vector<ReferencePair> done = std::move(partial.pairs);
  {
    PartialFile file(partial_path, TextOf(key, done));
    Progress progress("reference", pairs, std::ssize(done));
    while (std::ssize(done) < pairs) {
      if (stop != nullptr && stop->load()) return std::nullopt;
      const int64_t begin = std::ssize(done), end = std::min(pairs, begin + together);
      std::string text;
      for (const auto& pair : compute(begin, end)) {
        done.push_back(pair);
        text += LineOf(pair);
      }
      CADRE_CHECK(std::ssize(done) == end);
      file.Append(text);
      progress.Update(end);
    }
  }
  WriteFileAtomically(path, TextOf(key, done));
  std::error_code none;
  fs::remove(partial_path, none);
  return done;
}

}  // namespace cadre
