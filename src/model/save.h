// Writes a model so that other programs read it: a folder of safetensors in Hugging Face's or
// Mistral's layout, or GGUF. Streams: memory does not grow with the model. Files appear whole, and
// those of one model together, when all of them have been written.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "formats/gguf_writer.h"
#include "model/tensor_plan.h"

namespace cadre {

struct SaveOptions {
  FileLayout layout;
  // The type to store a tensor as; throws Error to refuse it.
  std::function<DType(const PlannedTensor&)> type_of;
  // [cols] what errors in each column of a matrix weigh (EncodeRow); empty: they weigh alike.
  std::function<std::span<const float>(const Weight&)> importance_of = {};
  std::optional<uint32_t> gguf_file_type = {};  // general.file_type; none: that of most values
  uint64_t shard_bytes =
      0;  // most tensor bytes of one file, where a tensor has no more; 0: one file
  // Says what is written from what (AtomicFile): what a stopped call has written stays then, and a
  // call of the same work goes on with it. Empty: a stopped call leaves nothing.
  std::string work = {};
  // The weights lie in mapped files: their pages are given back when they have been used.
  bool weights_are_mapped = false;
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> on_progress = {};
};

// What was written.
struct SaveSummary {
  std::vector<std::string> files;
  uint64_t bytes = 0;   // of tensors
  uint64_t values = 0;  // of tensors
  std::map<DType, int64_t> tensors;
};

// A float32 model of a Hugging Face layout: what training leaves.
SaveOptions HuggingFaceFloats();

// What saving to `place` (a folder, or the path of a GGUF file) would write.
struct PlannedFiles {
  std::vector<std::string> paths;  // of weights
  uint64_t bytes = 0;              // of tensors
};
PlannedFiles PlanFiles(const Model& model, const SaveOptions& options, const std::string& place);

// Weights, and config.json or params.json, in an existing folder. layout.names is not kGguf. An
// index or single file of weights of the same names that was there is removed: it would be read in
// place of what is written.
SaveSummary SaveSafetensors(const Model& model, const SaveOptions& options, ThreadPool& threads,
                            const std::string& folder);

// GGUF v3 of architecture "llama", as llama.cpp reads it; "cadre_moe" for a model whose gates are
// not renormalised, which llama.cpp then refuses instead of running another model. `set_text` adds
// the tokenizer's metadata. With shards the files are called PATH-00001-of-00003.gguf for a `path`
// of PATH.gguf.
SaveSummary SaveGguf(const Model& model, const SaveOptions& options, ThreadPool& threads,
                     const std::function<void(GgufWriter&)>& set_text, const std::string& name,
                     const std::string& path);

// What the one file that SaveGguf would write holds beside its tensors and the padding behind each.
uint64_t GgufOverheadBytes(const Model& model, const SaveOptions& options,
                           const std::function<void(GgufWriter&)>& set_text,
                           const std::string& name, const std::string& path);

}  // namespace cadre
