// POST /v1/embeddings: the mean of the last hidden states of each text, of length one. Refuses
// other sizes and other number types than the model has: cutting or rounding a vector that was not
// trained for it would be a silent loss.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/answer_json.h"
#include "server/api_config.h"
#include "server/exchange.h"

namespace cadre {

struct EmbeddingRequest {
  std::vector<std::vector<int32_t>> inputs;
  bool base64 = false;
};

// Throws ApiError.
EmbeddingRequest ParseEmbeddingRequest(const OrderedJson& body, const ApiConfig& config);

// Request i is input i.
std::unique_ptr<AnswerWriter> MakeEmbeddings(AnswerHead head, size_t num_inputs, bool base64);

// Little-endian float32 in base64, as clients decode it.
std::string Base64OfFloats(const std::vector<float>& values);

}  // namespace cadre
