// The model that tuning starts from, opened with its text.
#pragma once

#include <string>

#include "align/sample.h"
#include "align/tune_config.h"
#include "engine/open.h"
#include "train/run.h"

namespace cadre {

class BaseModel {
 public:
  // Logs what looks wrong. Throws Error for a model without tokenizer or of an unknown instruct
  // format.
  explicit BaseModel(const std::string& path);

  // As training holds it: rows of wq and wk in Hugging Face's order.
  ModelConfig config() const;
  ChatText text() const { return {*opened_.tokenizer, *opened_.chat_version}; }
  // What the tuned model is saved with: its own chat template, or one of the version.
  RunText run_text() const { return {*opened_.tokenizer, chat_template_}; }
  // As it lies in its files.
  const Model& model() const { return opened_.model.model(); }
  // All weights as float32, into an arena of ParameterLayout(config()).
  void CopyWeights(std::span<float> arena) const;

 private:
  OpenedModel opened_;
  std::string chat_template_;
};

}  // namespace cadre
