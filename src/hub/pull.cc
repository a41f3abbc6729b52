#include "hub/pull.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/folders.h"
#include "base/json.h"
#include "hub/http.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxListingBytes = size_t{64} << 20;

// For a path in a URL: what is not plain becomes %XX; slashes stay.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-' || c == '~' || c == '/';
    escaped += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return escaped;
}

// None: stopped.
std::optional<Repository> List(const std::string& repository, const PullOptions& options) {
  const auto stopped = [stop = options.download.stop] { return stop != nullptr && *stop; };
  HttpClient client(stopped);
  std::string revision = Escaped(options.revision);
  for (size_t slash; (slash = revision.find('/')) != revision.npos;)
    revision.replace(slash, 1, "%2F");
  const HttpGet request{.url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", options.hub,
                                           repository, revision),
                        .token = options.download.token,
                        .range = {}};
  std::string body;
  const HttpResult result = client.Get(request, [&](std::span<const std::byte> bytes) {
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return body.size() <= kMaxListingBytes;
  });
  if (stopped()) return std::nullopt;
  const std::string name = fmt::format("{} at {}", repository, options.revision);
  if (!result.problem.empty()) throw Error("{}: {}", name, result.problem);
  if (!result.ok())
    throw Error("{}: {}", name, Explain(result.status, !options.download.token.empty()));
  return ParseRepository(ParseJson(body, name), name);
}

// What is still to come takes room; an old file of the name stays until the new one is whole.
uint64_t NeededBytes(const std::vector<Download>& downloads) {
  uint64_t needed = 0;
  for (const auto& download : downloads) {
    std::error_code error;
    const bool there = fs::file_size(download.path, error) == download.file.size && !error;
    const uint64_t has = there ? download.file.size : BytesOnDisk(download.path + ".partial");
    needed += download.file.size - std::min(download.file.size, has);
  }
  return needed;
}

}  // namespace

PullResult Pull(const std::string& repository, const std::string& folder,
                const PullOptions& options) {
  CheckRepositoryName(repository);
  const std::optional<Repository> listing = List(repository, options);
  PullResult result;
  if (!listing) return result;
  result.commit = listing->commit;
  std::vector<Download> downloads;
  for (const auto& file : ChooseFiles(*listing, options.include, repository)) {
    const fs::path path = fs::path(folder) / file.path;
    CreateFolders(path.parent_path().string());
    downloads.push_back({.url = fmt::format("{}/{}/resolve/{}/{}", options.hub, repository,
                                            listing->commit, Escaped(file.path)),
                         .path = path.string(),
                         .file = file});
    result.files.push_back(path.string());
    result.bytes += file.size;
  }
  CheckRoom(folder, NeededBytes(downloads));
  result.done = DownloadAll(downloads, options.download);
  return result;
}

}  // namespace cadre
