// The smallest vocabulary that can say anything in every instruct format: bytes and the formats'
// own tokens. For fuzzers; a real one is too slow to make.
#pragma once

#include "text/tokenizer.h"

inline cadre::Vocabulary SmallVocabulary() {
  cadre::Vocabulary vocabulary;
  vocabulary.unk_id = 0;
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  vocabulary.pieces = {{"<unk>", 0, cadre::PieceType::kUnknown},
                       {"<s>", 0, cadre::PieceType::kControl},
                       {"</s>", 0, cadre::PieceType::kControl}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.pieces.push_back(
        {cadre::PieceOfByte(static_cast<uint8_t>(byte)), 0, cadre::PieceType::kByte});
  }
  for (const char* name :
       {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
        "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[PREFIX]", "[SUFFIX]"}) {
    vocabulary.pieces.push_back({name, 0, cadre::PieceType::kControl});
  }
  return vocabulary;
}
