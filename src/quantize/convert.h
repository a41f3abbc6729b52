// A checkpoint of any layout into one of another layout or type. Streams: memory stays the same for
// any size of model. A conversion that was stopped is gone on with when it is asked for again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/save.h"
#include "quantize/mix.h"

namespace cadre {

struct ConvertOptions {
  std::optional<DType> type = {};  // of all matrices; none: each as it is stored
  const Mix* mix = nullptr;        // GGUF: types by a mix, in place of `type`
  std::string lora = {};           // a folder of adapters to merge into the matrices; empty: none
  std::string imatrix = {};        // a file (formats/imatrix.h); empty: all columns weigh alike
  // GGUF in one file, with an imatrix: the file's size at most, in bytes; the type of each tensor
  // is chosen for that (budget.h), whatever `type` and `mix` say. 0: none.
  uint64_t budget_bytes = 0;
  FileLayout layout;
  uint64_t shard_bytes = 0;  // as in SaveOptions
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> on_progress = {};
  std::function<void(int64_t done, int64_t total)> on_choosing = {};  // tensors, with a budget
};

struct Conversion {
  SaveSummary summary;
  double expected_kl = 0;             // with a budget: nats per token
  std::vector<std::string> warnings;  // a sentence each, for the user
};

// `destination`: a file for GGUF, else a folder, made when it is not there. The tokenizer goes
// along in the form the layout has for it. Throws Error when the source cannot be read, when the
// layout cannot hold the types, when destination and source are one, or when the disk has no room.
Conversion Convert(const std::string& source, const std::string& destination,
                   const ConvertOptions& options, ThreadPool& threads);

}  // namespace cadre
