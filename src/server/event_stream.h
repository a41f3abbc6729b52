// Server-sent events as both dialects read them: one line of JSON each, [DONE] at the end.
#pragma once

#include <string>
#include <string_view>

#include "server/http.h"

namespace cadre {

void StartEvents(HttpReply& reply);
// `json`: without newlines.
void WriteEvent(HttpReply& reply, std::string_view json);
// [DONE], and the end of the answer.
void FinishEvents(HttpReply& reply);

}  // namespace cadre
