// A checkpoint of any layout into one of another layout or type. Streams: memory stays the same for
// any size of model. A conversion that was stopped is gone on with when it is asked for again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/save.h"

namespace cadre {

struct ConvertOptions {
  std::optional<DType> type;  // of the matrices; none: each as it is stored
  FileLayout layout;
  uint64_t shard_bytes = 0;  // as in SaveOptions
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> on_progress = {};
};

struct Conversion {
  SaveSummary summary;
  std::vector<std::string> warnings;  // a sentence each, for the user
};

// `destination`: a file for GGUF, else a folder, made when it is not there. The tokenizer goes
// along in the form the layout has for it. Throws Error when the source cannot be read, when the
// layout cannot hold the types, when destination and source are one, or when the disk has no room.
Conversion Convert(const std::string& source, const std::string& destination,
                   const ConvertOptions& options, ThreadPool& threads);

}  // namespace cadre
