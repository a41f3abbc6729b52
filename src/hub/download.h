// Many files over several connections at once, in chunks, each tried again where it was cut.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "hub/repository.h"

namespace cadre {

struct DownloadOptions {
  std::string token;  // for the hub itself; empty: none
  int connections = 8;
  double retry_wait_s = 0.5;  // after the first answer that gave nothing; doubles up to a minute
  const std::atomic<bool>* stop = nullptr;
  // From any thread, one at a time.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> on_progress = {};
};

struct Download {
  std::string url;
  std::string path;  // in a folder that is there
  RemoteFile file;
};

// How often in a row a chunk may bring nothing before the download is given up.
inline constexpr int kMaxFruitlessTries = 8;

// Returns true when every file is there with the right checksum, false when stopped. Throws Error
// for the first thing that cannot be helped by trying again.
bool DownloadAll(const std::vector<Download>& downloads, const DownloadOptions& options);

// What an answer means for the user: "needs a token ...", "is not there", "answers 500".
std::string Explain(int status, bool has_token);

}  // namespace cadre
