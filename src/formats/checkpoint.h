// One view of the files of a model, whatever their format: named tensors, mapped and checked, and
// the configuration beside them. Tensor names are those of the files (model/tensor_names
// translates). Refuses pickled weights (.bin, .pt, .pth), which run code when read, and shard names
// that leave the folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json_fwd.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "tensor/dtype.h"
#include "tensor/weight.h"

namespace cadre {

enum class CheckpointKind {
  kHuggingFace,  // model.safetensors or its shards, config.json
  kMistral,      // consolidated.safetensors or its shards, params.json
  kGguf,
};

struct TensorView {
  std::string name;
  std::optional<DType> dtype;  // none when Cadre cannot compute with the stored type
  std::string type_name;       // always: "BF16", "Q4_K", "F8_E4M3", "unknown type 97"
  std::vector<int64_t> shape;  // row-major, [out, in]; for GGUF the reverse of the dims in the file
  std::span<const std::byte> data;  // any alignment; lives as long as the Checkpoint
  std::string file;                 // where it is, for messages

  // The last dimension as columns and all others as rows: [n] is 1 x n, [experts, rows, cols] is
  // (experts * rows) x cols. Throws Error naming file, tensor and type when dtype is none.
  Weight AsWeight() const;
};

// A weight file as it is mapped.
struct MappedWeights {
  std::string file;
  std::span<const std::byte> bytes;
};

class Checkpoint {
 public:
  // `path`: a folder with model.safetensors, or with model.safetensors.index.json and its shards,
  // or with one GGUF model (one .gguf file or the parts of one split file), or with
  // consolidated.safetensors or its index; the first of these that is there. Or a .safetensors or
  // GGUF file (told by its first bytes; of a split file, its first part). Throws Error naming the
  // file and what is wrong.
  static Checkpoint Open(const std::string& path);

  CheckpointKind kind() const { return kind_; }
  // None when there is no tensor of this name.
  std::optional<TensorView> Find(std::string_view name) const;
  // In the order of the files: shards by name, tensors by place.
  const std::vector<TensorView>& Tensors() const { return tensors_; }

  // The config.json or params.json beside the weights (an object). Throws Error when that is
  // missing; a CADRE_CHECK for GGUF.
  const Json& config() const;
  std::string config_file() const;  // its path, there or not
  // GGUF: the (first) file with the metadata; null for Hugging Face.
  const GgufFile* gguf() const { return gguf_files_.empty() ? nullptr : &gguf_files_.front(); }

  const std::string& path() const { return path_; }  // as given to Open
  const std::string& folder() const {
    return folder_;
  }                                        // where the files lie, tokenizer files among them
  uint64_t bytes() const;                  // of all weight files together
  std::vector<std::string> files() const;  // the weight files
  // The same with their bytes, to find out at which byte of which file a tensor lies.
  std::vector<MappedWeights> mapped() const;

 private:
  Checkpoint() = default;
  void OpenFolder();
  void OpenFile(const std::string& file);
  // `single_file`: one of its name is there too, and must be a shard; or null.
  void OpenIndex(const std::string& index_file, const char* single_file);
  void OpenSafetensors(const std::string& file);
  void OpenGguf(const std::string& file);
  void OpenGgufParts(int64_t num_parts);
  void AddGgufTensors(const GgufFile& file);
  void Add(TensorView tensor);
  void ReadConfig();

  CheckpointKind kind_ = CheckpointKind::kHuggingFace;
  std::string path_;
  std::string folder_;
  std::vector<SafetensorsFile> safetensors_files_;
  std::vector<GgufFile> gguf_files_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::shared_ptr<const Json> config_;  // null when there is none
};

}  // namespace cadre
