// Writes a tokenizer where other programs look for it: GGUF metadata, or the files of a model
// folder. The way back of open.h.
#pragma once

#include <string>

#include "formats/gguf_writer.h"
#include "text/vocabulary.h"

namespace cadre {

// tokenizer.ggml.* and tokenizer.chat_template (not when empty).
void SetTextMetadata(const Vocabulary& vocabulary, const std::string& chat_template,
                     GgufWriter& writer);

// tokenizer.model, tokenizer.json (where it can say the same) and tokenizer_config.json in an
// existing folder.
void SaveTextFiles(const Vocabulary& vocabulary, const std::string& chat_template,
                   const std::string& folder);

}  // namespace cadre
