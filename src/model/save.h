// Writes a model held in a float32 arena (parameters.h) so that other programs read it: a Hugging
// Face directory, or a GGUF file. Files appear whole or not at all.
#pragma once

#include <string>
#include <vector>

#include "model/parameters.h"
#include "tensor/dtype.h"

namespace cadre {

// config.json and model.safetensors (float32, per-expert names) in an existing folder.
void SaveHuggingFace(const ModelConfig& config, const float* arena, const std::string& folder);

// The vocabulary as GGUF metadata carries it.
struct GgufVocabulary {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  int32_t bos_id = 1;
  int32_t eos_id = 2;
  int32_t unknown_id = 0;
  std::string chat_template;  // empty: none
};

// GGUF v3 of architecture "llama" with merged experts and interleaved RoPE rows, as llama.cpp reads
// it. Norms and router are F32; other tensors are `type`, or Q8_0 where their rows are no whole
// blocks of it, or F16 where not even of that.
void SaveGguf(const ModelConfig& config, const float* arena, DType type,
              const GgufVocabulary& vocabulary, const std::string& name, const std::string& path);

}  // namespace cadre
