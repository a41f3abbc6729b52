// The messages of a conversation as both dialects spell them, made the ones of text/chat.h. Refuses
// images and sound. Whether the conversation makes sense is text/chat.h's to say.
#pragma once

#include <vector>

#include "base/json.h"
#include "text/chat.h"

namespace cadre {

// `messages`: the value of the field of that name. "developer" is a system message; an assistant
// message with tool calls loses its text, for the formats hold one of them; ids of calls and
// results are mapped to nine characters; a result gets the name of the function that was called.
// Throws ApiError (422).
std::vector<Message> ParseMessages(const OrderedJson& messages);

}  // namespace cadre
