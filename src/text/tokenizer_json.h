// Hugging Face's tokenizer.json (and tokenizer_config.json) read as a sentencepiece-style
// vocabulary: the forms that Mixtral's converters wrote, old (normalizer Prepend + Replace) and new
// (Metaspace), both spellings of merges. Refuses byte-level BPE and anything that rewrites text.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "text/vocabulary.h"

namespace cadre {

// A checked vocabulary whose pieces score -r, r the rank of their first merge. `config` is the
// parsed tokenizer_config.json or null when there is none; `name` is the file for messages. Throws
// Error on anything malformed or not supported.
Vocabulary ReadTokenizerJson(const Json& tokenizer, const Json* config, const std::string& name);

// The text of a tokenizer.json in the old form (normalizer Prepend + Replace), whose merges make
// the ids that sentencepiece makes. Not for a vocabulary that removes spaces: the format cannot say
// it.
std::string WriteTokenizerJson(const Vocabulary& vocabulary);
bool CanWriteTokenizerJson(const Vocabulary& vocabulary);

}  // namespace cadre
