// Ids of tool calls. Instruct models of v3 know only nine letters or digits; clients send whatever
// they like.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cadre {

// Nine letters or digits for call `index` of answer `choice` to the request `id`; other requests
// get others.
std::string MakeCallId(std::string_view id, size_t choice, size_t index);

// `id` itself where it is nine letters or digits, else nine that are always the same for it, so
// that a call and its result still meet. Empty and "null", which mean none, stay empty.
std::string MappedCallId(const std::string& id);

}  // namespace cadre
