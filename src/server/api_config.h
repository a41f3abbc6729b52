// What the API must know of the model that it serves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace cadre {

struct ApiConfig {
  const ModelConfig* model = nullptr;    // must outlive the API
  const Tokenizer* tokenizer = nullptr;  // must outlive the API
  std::optional<ChatVersion>
      chat_version;  // none: a base model, which no conversation can be put to
  std::string model_id;
  std::vector<std::string> aliases;           // other names that clients may ask for
  int64_t created = 0;                        // seconds since 1970
  int64_t context_length = 0;                 // the engine's
  std::optional<int64_t> default_max_tokens;  // of a chat answer; none: to the end of the context
  double default_temperature = 0.7;           // of a chat answer

  // The id of a control piece; nothing where the vocabulary has no such control piece.
  std::optional<int32_t> ControlId(const char* piece) const;
  // v2 and v3 with the pieces that tools need.
  bool HasTools() const;
  bool HasFim() const;

  // Does `name` mean this model? Case, an owner's name before a slash, ".gguf", and which of "-",
  // "_", "." or a space separates words make no difference.
  bool Serves(const std::string& name) const;
  // Throws ApiError (404, model_not_found) where it does not.
  void CheckModel(const std::string& name) const;
};

}  // namespace cadre
