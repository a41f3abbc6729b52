// From a checkpoint's tensors to a Model: names translated, shapes and types checked, weights used
// where they lie in the mapped file (norms alone are copied, to float32). Of this floor,
// only this, save and the config files know file formats.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/huge_memory.h"
#include "formats/checkpoint.h"
#include "model/adapter_files.h"
#include "model/weights.h"
#include "ops/device.h"
#include "tensor/buffer.h"

namespace cadre {

// A model and the files that hold its weights.
class LoadedModel {
 public:
  // Throws Error naming the file and tensor for anything missing, of another shape than the config
  // says, or of a type Cadre cannot compute with.
  static LoadedModel Load(const std::string& path);

  const Model& model() const { return *model_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  // What looks wrong without being impossible, a sentence each: published settings not met, tensors
  // nobody uses.
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Keeps all matrices that the device would rather have packed in memory of their own, and gives
  // the file's pages back. False when there is no room for that: then all stays as it is.
  bool Pack(Device& device);

  // Adds the adapters in `folder` (model/adapter_files.h) to the model. Once, before Pack.
  void AddAdapters(const std::string& folder);

  // Uses k experts per token from now on. Throws Error when k is not in [1, experts].
  void SetExpertsPerToken(int64_t k);

 private:
  LoadedModel() = default;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Model> model_;
  std::vector<Buffer<float>> norms_;
  std::optional<StoredAdapters> adapters_;
  HugeMemory packed_;
  std::vector<std::string> warnings_;
};

}  // namespace cadre
