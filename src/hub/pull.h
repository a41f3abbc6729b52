// cadre pull: a model repository of a hub into a folder.
#pragma once

#include <string>
#include <vector>

#include "hub/download.h"

namespace cadre {

struct PullOptions {
  std::string hub = "https://huggingface.co";  // without a slash at the end
  std::string revision = "main";
  std::vector<std::string> include;  // patterns of files; empty: what one model needs
  DownloadOptions download;
};

struct PullResult {
  bool done = false;  // false: stopped; the same call goes on
  std::string commit;
  std::vector<std::string> files;
  uint64_t bytes = 0;
};

// Throws Error when the repository is not to be had, the disk has no room, or a file is not what
// the hub says.
PullResult Pull(const std::string& repository, const std::string& folder,
                const PullOptions& options);

}  // namespace cadre
