// A model of any stored type with its tokenizer, opened to be learnt from or to start from. A chat
// template that came with it goes on with what is made of it.
#pragma once

#include <string>

#include "align/sample.h"
#include "engine/open.h"
#include "train/run.h"

namespace cadre {

class TextModel {
 public:
  // Logs what looks wrong. Throws Error for a model without tokenizer and, where it is opened for
  // chat, of an unknown instruct format.
  TextModel(const std::string& path, bool for_chat);

  const std::string& path() const { return path_; }
  const Model& model() const { return opened_.model.model(); }
  // As training holds it: rows of wq and wk in Hugging Face's order, and a router that only runs.
  ModelConfig config() const;
  RunText text() const { return {*opened_.tokenizer, chat_template_}; }
  // Opened for chat.
  ChatText chat_text() const { return {*opened_.tokenizer, *opened_.chat_version}; }
  const Tokenizer& tokenizer() const { return *opened_.tokenizer; }
  // Packs the weights for a device, where there is memory for that.
  void Pack(Device& device);

 private:
  std::string path_;
  OpenedModel opened_;
  std::string chat_template_;
};

// Throws Error, with the first thing that differs, unless the two give every token the same id:
// pieces and rows of logits.
void RequireSameVocabulary(const TextModel& student, const TextModel& teacher);

}  // namespace cadre
