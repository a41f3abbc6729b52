#include "server/tool_call_reader.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

// Nothing for what is no call: the grammar does not let it come, a model without one might.
void AddCall(const std::string& object, std::vector<ToolCall>& calls) {
  OrderedJson json;
  try {
    json = ParseOrderedJson(object, "a tool call");
  } catch (const Error&) {
    return;
  }
  const auto name = json.find("name");
  if (name == json.end() || !name->is_string()) return;
  ToolCall call{.id = "", .name = name->get<std::string>(), .arguments = "{}"};
  const auto arguments = json.find("arguments");
  if (arguments != json.end())
    call.arguments = arguments->dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  calls.push_back(std::move(call));
}

}  // namespace

std::vector<ToolCall> ToolCallReader::Push(std::string_view bytes) {
  std::vector<ToolCall> calls;
  for (const char c : bytes) {
    if (depth_ == 0 && c != '{') continue;  // the list's own brackets, commas and spaces
    object_ += c;
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{') {
      ++depth_;
    } else if (c == '}' && --depth_ == 0) {
      AddCall(object_, calls);
      object_.clear();
    }
  }
  return calls;
}

ToolCallSplitter::ToolCallSplitter(const Tokenizer& tokenizer, int32_t trigger_id)
    : tokenizer_(&tokenizer), trigger_id_(trigger_id) {}

ToolCallSplitter::Piece ToolCallSplitter::Push(const RequestEvent& event) {
  Piece piece;
  const bool had_called = called_;
  if (!called_) text_ += event.text;
  for (const OutputToken& token : event.tokens) {
    if (called_) {
      const auto calls = reader_.Push(tokenizer_->PieceBytes(token.id));
      piece.calls.insert(piece.calls.end(), calls.begin(), calls.end());
      continue;
    }
    known_bytes_ = static_cast<size_t>(token.text_end);
    called_ = token.id == trigger_id_;
  }
  if (had_called) return piece;
  // A stop string may have cut the text short of its tokens.
  size_t end = std::min(known_bytes_ - told_bytes_, text_.size());
  if (event.end && !called_) end = text_.size();
  piece.text = text_.substr(0, end);
  text_.erase(0, end);
  told_bytes_ += end;
  return piece;
}

}  // namespace cadre
