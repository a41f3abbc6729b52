// The model that tuning starts from, opened with its text.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "align/sample.h"
#include "align/tune_config.h"
#include "engine/open.h"
#include "model/adapter_files.h"
#include "train/run.h"

namespace cadre {

class BaseModel {
 public:
  // Logs what looks wrong. Throws Error for a model without tokenizer or of an unknown instruct
  // format.
  // `lora`: a folder of adapters that tuning goes on with; empty: none.
  explicit BaseModel(const std::string& path, const std::string& lora = "");

  // As training holds it: rows of wq and wk in Hugging Face's order.
  ModelConfig config() const;
  ChatText text() const { return {*opened_.tokenizer, *opened_.chat_version}; }
  // What the tuned model is saved with: its own chat template, or one of the version.
  RunText run_text() const { return {*opened_.tokenizer, chat_template_, path_}; }
  // As it lies in its files.
  const Model& model() const { return opened_.model.model(); }
  // Those that tuning goes on with.
  const std::optional<StoredAdapters>& adapters() const { return adapters_; }
  // The model that tuning begins as: with them, where there are any.
  const Model& beginning() const { return beginning_; }
  // All weights as float32, into an arena of ParameterLayout(config()).
  void CopyWeights(std::span<float> arena) const;
  // What the weights, of a trainer of it that has done no step, are told by.
  std::string HashWeights(Trainer& trainer) const;

 private:
  std::string path_;
  OpenedModel opened_;
  std::optional<StoredAdapters> adapters_;
  Model beginning_;
  std::string chat_template_;
};

// `base`: opened with config.lora_from. A trainer of all weights of the base, as they are, or of
// adapters beside them: new ones, or those of config.lora_from. Throws Error where the
// configuration asks for what this base cannot give.
std::unique_ptr<Trainer> MakeTrainer(const BaseModel& base, const TuneConfig& config,
                                     Device& device, BackwardOps& ops);

}  // namespace cadre
