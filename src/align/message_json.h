// Messages and tools of training data, from JSON.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat.h"

namespace cadre {

// The object's one member of these names; null when it has none, and for a member that is null.
// Throws Error when it has two.
const OrderedJson* OneOf(const OrderedJson& object, std::initializer_list<const char*> keys,
                         const std::string& name);

// As it stands in an error: short, printable.
std::string ShownJson(const OrderedJson& value);

// `name` is the line and the member, for messages. Results of tools get the name of the function
// where only the call has it.
std::vector<Message> ParseDataMessages(const OrderedJson& list, const std::string& name);

std::vector<ToolDefinition> ParseDataTools(const OrderedJson& list, const std::string& name);

// The turns of "\n\nHuman: ...\n\nAssistant: ...", without the space around them; an empty answer
// at the end is one that is still to come, and left out. Empty: the text does not begin so.
std::vector<Message> ParseTranscript(std::string_view text);

}  // namespace cadre
