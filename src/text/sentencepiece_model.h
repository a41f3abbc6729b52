// sentencepiece's tokenizer.model file (a protobuf ModelProto): read with our own checked wire
// reader, written minimal and clean. The sentencepiece library never sees bytes from outside, only
// what WriteSentencePieceModel makes. Refuses models that are not BPE, that normalise text
// (anything but "identity"), or that put spaces behind words.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "text/vocabulary.h"

namespace cadre {

// A checked vocabulary; `name` is the file for messages. Throws Error on anything malformed or not
// supported.
Vocabulary ReadSentencePieceModel(std::span<const std::byte> bytes, const std::string& name);

// A ModelProto that holds the vocabulary and nothing else; ReadSentencePieceModel gives the same
// vocabulary back, but for add_bos and add_eos, which the format has no field for.
std::string WriteSentencePieceModel(const Vocabulary& vocabulary);

}  // namespace cadre
