// A model's configuration in the files of the layouts: Hugging Face's config.json, Mistral's
// params.json, GGUF metadata. Each reader validates what it read. Source: transformers
// configuration_mixtral.py, configuration_mistral.py; mistral-inference args.py; llama.cpp
// llama-arch.cpp.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "formats/checkpoint.h"
#include "model/config.h"

namespace cadre {

// All throw Error, naming the file and the key, for what is wrong and for an architecture,
// activation, bias, RoPE scaling or encoder that Cadre does not run.
ModelConfig ConfigFromJson(const Json& json, const std::string& name);
ModelConfig ConfigFromParams(const Json& params, const std::string& name);
ModelConfig ConfigFromGguf(const GgufFile& file, bool tie_embeddings);
// By the checkpoint's kind.
ModelConfig ConfigOf(const Checkpoint& checkpoint);

// The files that transformers and mistral-inference read back.
OrderedJson ConfigToJson(const ModelConfig& config, DType type = DType::kF32);  // of most weights
OrderedJson ConfigToParams(const ModelConfig& config);

}  // namespace cadre
