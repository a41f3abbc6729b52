// Why an answer ended.
#pragma once

#include <cstdint>
#include <string_view>

namespace cadre {

enum class FinishReason : uint8_t {
  kStop,       // EOS, a stop string, or a grammar that allows nothing more
  kLength,     // max_tokens, or the end of the context
  kCancelled,  // by the caller
  kError,      // see the message
};
std::string_view Name(FinishReason reason);  // "stop", "length", "cancelled", "error"

}  // namespace cadre
