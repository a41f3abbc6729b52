#include "transfer/text_model.h"

#include "base/log.h"

namespace cadre {

TextModel::TextModel(const std::string& path, bool for_chat)
    : path_(path), opened_(OpenModel(path, for_chat ? TextNeed::kChat : TextNeed::kTokens)) {
  for (const auto& warning : opened_.warnings) log::warn("{}", warning);
  if (for_chat) {
    chat_template_ =
        opened_.chat_template.empty() ? TemplateOf(*opened_.chat_version) : opened_.chat_template;
  } else if (const auto text = FindText(opened_.model.checkpoint())) {
    chat_template_ = text->chat_template;
  }
}

ModelConfig TextModel::config() const {
  ModelConfig config = model().config;
  config.rope_layout = RopeLayout::kHalfSplit;
  config.router = config.router.ForInference();
  return config;
}

void TextModel::Pack(Device& device) {
  if (!opened_.model.Pack(device))
    log::warn("there is no memory to pack the weights of {}: they are used as they are", path_);
}

void RequireSameVocabulary(const TextModel& student, const TextModel& teacher) {
  const auto& ours = student.tokenizer().vocabulary().pieces;
  const auto& theirs = teacher.tokenizer().vocabulary().pieces;
  const auto refuse = [&](const std::string& what) {
    throw Error("{}: {} of {}: a teacher can only teach a student with its own vocabulary",
                student.path(), what, teacher.path());
  };
  if (ours.size() != theirs.size())
    refuse(fmt::format("has {} pieces but must have the {}", ours.size(), theirs.size()));
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i].text == theirs[i].text && ours[i].type == theirs[i].type) continue;
    refuse(fmt::format("token {} is '{}' but must be the '{}'", i, Printable(ours[i].text),
                       Printable(theirs[i].text)));
  }
  const int64_t rows = student.model().config.vocab_size;
  const int64_t wanted = teacher.model().config.vocab_size;
  if (rows != wanted)
    refuse(fmt::format("gives {} logits a token but must give the {}", rows, wanted));
}

}  // namespace cadre
