// From a path to a model that can be talked to: the one place that knows weights and tokenizer
// files both. Finds the tokenizer beside the weights (tokenizer.model, else tokenizer.json, else
// the one file of Mistral's own names, as tokenizer.model.v3) or in the GGUF metadata and checks
// that the two belong together. Refuses byte-level BPE (text/tokenizer_json.h, tekken.json) and a
// tokenizer with more pieces than the model has embedding rows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/load.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace cadre {

// A vocabulary and what came with it.
struct TextSource {
  Vocabulary vocabulary;
  std::string file;           // where it was read
  std::string chat_template;  // Jinja; empty: none
};

// The tokenizer at `path`: a model folder or file, a folder with tokenizer files only, a
// tokenizer.model or tokenizer.json. Needs no weights. Throws Error when there is none or it is
// wrong.
TextSource OpenText(const std::string& path);

// The tokenizer in the metadata of the file; none when there is none. Throws Error when it is
// wrong.
std::optional<TextSource> FindText(const GgufFile& file);

// The tokenizer that belongs to these weights; none when there are no tokenizer files. Throws Error
// when there is one and it is wrong.
std::optional<TextSource> FindText(const Checkpoint& checkpoint);

// Warnings when the vocabulary has fewer pieces than the model has embedding rows, or another BOS
// than the config says. Throws Error when it has more pieces.
std::vector<std::string> CheckVocabulary(const TextSource& text, const ModelConfig& config);

// What the caller needs besides the weights.
enum class TextNeed {
  kNone,    // no tokenizer file is touched
  kTokens,  // a tokenizer, or Error
  kChat,    // a tokenizer and an instruct format, or Error
};

struct OpenedModel {
  LoadedModel model;
  std::optional<Tokenizer> tokenizer;       // unless kNone
  std::optional<ChatVersion> chat_version;  // with kChat
  std::string chat_template;                // with kChat: one that writes this version, or empty
  std::vector<std::string> warnings;        // a sentence each, for the user
};

OpenedModel OpenModel(const std::string& path, TextNeed need);

}  // namespace cadre
