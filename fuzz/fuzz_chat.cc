// Any conversation: ids, with as many control tokens as its turns have and no more, or one Error.
// The first bytes choose the version and options; then each turn is a byte (role, tool call,
// prefix) and text up to the next zero byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "small_vocabulary.h"
#include "text/chat.h"

namespace {

std::vector<cadre::Message> Turns(std::string_view rest) {
  std::vector<cadre::Message> messages;
  while (!rest.empty()) {
    const auto kind = static_cast<unsigned char>(rest[0]);
    const size_t end = rest.find('\0', 1);
    const std::string text(rest.substr(1, end == std::string_view::npos ? end : end - 1));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    cadre::Message message{.role = static_cast<cadre::Role>(kind & 3u)};
    if ((kind & 4u) != 0) {
      message.tool_calls.push_back({"123456789", "f", text});
    } else {
      message.content = text;
    }
    if ((kind & 8u) != 0) message.tool_call_id = "123456789";
    if ((kind & 16u) != 0) message.name = "f";
    message.prefix = (kind & 32u) != 0;
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const cadre::Tokenizer tokenizer(SmallVocabulary(), "fuzz");
  if (size < 1) return 0;
  const std::vector<cadre::Message> messages =
      Turns({reinterpret_cast<const char*>(data) + 1, size - 1});
  const auto version = static_cast<cadre::ChatVersion>(1 + data[0] % 3);
  std::vector<cadre::ToolDefinition> tools;
  if ((data[0] & 16u) != 0) tools.push_back({"f", "", cadre::OrderedJson::object()});
  try {
    const std::vector<int32_t> ids = cadre::EncodeChat(
        tokenizer, version, messages, tools,
        {.safe_prompt = (data[0] & 32u) != 0, .for_training = (data[0] & 64u) != 0});
    size_t num_control = 0;
    for (const int32_t id : ids) num_control += tokenizer.IsControl(id) ? 1 : 0;
    // BOS, an empty first user turn, tools, and two around each turn.
    if (num_control > 5 + 2 * messages.size()) std::abort();
  } catch (const cadre::Error&) {
  }
  return 0;
}
