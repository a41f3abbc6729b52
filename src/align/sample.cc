#include "align/sample.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

Sample EncodePlain(const DataLine& line, const Tokenizer& tokenizer, const std::string& name) {
  if (line.text.empty()) throw Error("{}: holds no text to learn", name);
  if (tokenizer.bos_id() < 0 || tokenizer.eos_id() < 0)
    throw Error("{}: plain text is learnt between BOS and EOS, but the tokenizer lacks one", name);
  Sample sample;
  const auto append = [&](std::span<const int32_t> ids, uint8_t trained) {
    sample.tokens.insert(sample.tokens.end(), ids.begin(), ids.end());
    sample.trained.insert(sample.trained.end(), ids.size(), trained);
  };
  const int32_t bos = tokenizer.bos_id(), eos = tokenizer.eos_id();
  append({&bos, 1}, 0);
  append(tokenizer.Encode(line.prompt), 0);
  append(tokenizer.Encode(line.text,
                          line.prompt.empty() ? DummyPrefix::kAsVocabulary : DummyPrefix::kNone),
         1);
  append({&eos, 1}, 1);
  return sample;
}

}  // namespace

int64_t Sample::CountTrained() const { return std::count(trained.begin(), trained.end(), 1); }

std::span<const int32_t> Sample::Prompt() const {
  const auto first = std::find(trained.begin(), trained.end(), 1) - trained.begin();
  return {tokens.data(), first > 1 ? static_cast<size_t>(first) : tokens.size()};
}

Sample EncodeSample(const DataLine& line, const ChatText& text, const std::string& name) {
  if (line.messages.empty()) return EncodePlain(line, text.tokenizer, name);
  try {
    EncodedChat chat = EncodeChatForTraining(text.tokenizer, text.version, line.messages,
                                             line.tools, {.for_training = true});
    return {std::move(chat.ids), std::move(chat.trained)};
  } catch (const Error& error) {
    throw Error("{}: {}", name, error.what());
  }
}

bool CutEnd(Sample& sample, int64_t max_tokens) {
  CADRE_CHECK(max_tokens >= 2);
  const bool cut = std::ssize(sample.tokens) > max_tokens;
  if (cut) {
    sample.tokens.resize(static_cast<size_t>(max_tokens));
    sample.trained.resize(static_cast<size_t>(max_tokens));
  }
  // What stands after the last learnt token has no say in anything.
  const auto last = std::find(sample.trained.rbegin(), sample.trained.rend(), 1);
  const auto used = static_cast<size_t>(sample.trained.rend() - last);
  sample.tokens.resize(used);
  sample.trained.resize(used);
  return cut;
}

}  // namespace cadre
