#include "server/tool_fields.h"

#include <algorithm>
#include <set>

namespace cadre {
namespace {

constexpr size_t kMaxTools = 256;

bool IsFunctionName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

ToolDefinition ParseTool(const OrderedJson& json, const std::string& path) {
  Fields fields(json, path);
  const std::string type = fields.String("type").value_or("function");
  if (type != "function")
    fields.Fail("type", "is '" + Printable(type) + "' but must be function", "literal_error");
  Fields function(fields.Required("function"), fields.PathOf("function"));
  ToolDefinition tool;
  tool.name = function.RequiredString("name");
  if (!IsFunctionName(tool.name)) {
    function.Fail(
        "name", "is '" + Printable(tool.name) + "' but must be 1 to 64 letters, digits, '_' or '-'",
        "string_pattern_mismatch");
  }
  tool.description = function.String("description").value_or("");
  function.Bool("strict");  // arguments always follow the schema
  const OrderedJson* parameters = function.Find("parameters");
  if (parameters == nullptr) return tool;
  if (!parameters->is_object())
    function.Fail("parameters", "is " + Shown(*parameters) + " but must be a schema", "dict_type");
  tool.parameters = *parameters;
  return tool;
}

// The index of the function that {"type":"function","function":{"name"}} names.
size_t NamedTool(const OrderedJson& json, const std::string& path,
                 const std::vector<ToolDefinition>& tools) {
  Fields fields(json, path);
  const std::string type = fields.String("type").value_or("function");
  if (type != "function")
    fields.Fail("type", "is '" + Printable(type) + "' but must be function", "literal_error");
  Fields function(fields.Required("function"), fields.PathOf("function"));
  const std::string name = function.RequiredString("name");
  const auto found =
      std::ranges::find_if(tools, [&](const ToolDefinition& tool) { return tool.name == name; });
  if (found == tools.end())
    function.Fail("name", "is '" + Printable(name) + "', which is none of the tools",
                  "value_error");
  return static_cast<size_t>(found - tools.begin());
}

ToolChoice ChoiceOfWord(Fields& fields, const std::string& word) {
  if (word == "none") return ToolChoice::kNone;
  if (word == "auto") return ToolChoice::kAuto;
  if (word == "any" || word == "required") return ToolChoice::kRequired;
  fields.Fail("tool_choice",
              "is '" + Printable(word) + "' but must be none, auto, any, required or a function",
              "literal_error");
}

// {"type":"allowed_tools","allowed_tools":{"mode","tools":[...]}}
void ParseAllowedTools(Fields& choice, ToolUse& use) {
  Fields allowed(choice.Required("allowed_tools"), choice.PathOf("allowed_tools"));
  const std::string mode = allowed.String("mode").value_or("auto");
  if (mode != "auto" && mode != "required")
    allowed.Fail("mode", "is '" + Printable(mode) + "' but must be auto or required",
                 "literal_error");
  use.choice = mode == "auto" ? ToolChoice::kAuto : ToolChoice::kRequired;
  const OrderedJson& list = allowed.Required("tools");
  if (!list.is_array() || list.empty())
    allowed.Fail("tools", "is " + Shown(list) + " but must be a list of functions", "list_type");
  std::set<size_t> indices;
  for (size_t i = 0; i < list.size(); ++i)
    indices.insert(NamedTool(list[i], fmt::format("{}.{}", allowed.PathOf("tools"), i), use.tools));
  use.callable.assign(indices.begin(), indices.end());
}

void ParseChoice(Fields& fields, ToolUse& use) {
  const OrderedJson* value = fields.Find("tool_choice");
  if (value == nullptr) return;
  if (value->is_string()) {
    use.choice = ChoiceOfWord(fields, value->get<std::string>());
  } else {
    Fields choice(*value, fields.PathOf("tool_choice"));
    if (choice.String("type").value_or("function") == "allowed_tools")
      return ParseAllowedTools(choice, use);
    use.callable = {NamedTool(*value, fields.PathOf("tool_choice"), use.tools)};
    use.choice = ToolChoice::kRequired;
  }
  if (use.tools.empty() && use.choice == ToolChoice::kRequired)
    fields.Fail("tool_choice", "asks for a call but there are no tools", "value_error");
  if (use.tools.empty()) use.choice = ToolChoice::kNone;
}

}  // namespace

ToolUse ParseToolUse(Fields& fields) {
  ToolUse use;
  for (const char* old : {"functions", "function_call"}) {
    if (fields.Find(old) != nullptr)
      fields.Fail(old, "is given but functions must be in tools", "extra_forbidden");
  }
  const OrderedJson* list = fields.Find("tools");
  if (list != nullptr) {
    if (!list->is_array())
      fields.Fail("tools", "is " + Shown(*list) + " but must be a list", "list_type");
    if (list->size() > kMaxTools) {
      fields.Fail("tools", fmt::format("has {} entries but may have {}", list->size(), kMaxTools),
                  "too_long");
    }
    std::set<std::string> names;
    for (size_t i = 0; i < list->size(); ++i) {
      use.tools.push_back(ParseTool((*list)[i], fmt::format("tools.{}", i)));
      use.callable.push_back(i);
      if (!names.insert(use.tools.back().name).second)
        throw InvalidField(fmt::format("tools.{}.function.name", i),
                           "is '" + use.tools.back().name + "' a second time", "value_error");
    }
  }
  use.choice = use.tools.empty() ? ToolChoice::kNone : ToolChoice::kAuto;
  use.parallel = fields.Bool("parallel_tool_calls").value_or(true);
  ParseChoice(fields, use);
  return use;
}

}  // namespace cadre
