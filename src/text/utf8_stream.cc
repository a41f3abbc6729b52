#include "text/utf8_stream.h"

#include "text/utf8.h"

namespace cadre {

Utf8Stream::Utf8Stream(const Tokenizer& tokenizer, LeadingSpace leading_space)
    : tokenizer_(&tokenizer),
      strip_next_(leading_space == LeadingSpace::kStrip &&
                  tokenizer.vocabulary().add_dummy_prefix) {}

std::string Utf8Stream::Push(int32_t id) {
  const std::string bytes = tokenizer_->PieceBytes(id);
  if (tokenizer_->IsByte(id)) {
    strip_next_ = false;
    held_ += bytes;
    return TakeWhole();
  }
  // Only byte pieces follow one another into a character; any other piece, a control one too, ends
  // their run.
  std::string text = Flush();
  if (tokenizer_->IsControl(id)) return text;
  const bool strip = strip_next_ && tokenizer_->PieceText(id).starts_with(kSpaceSymbol);
  strip_next_ = false;
  text += strip ? bytes.substr(1) : bytes;
  return text;
}

std::string Utf8Stream::Flush() {
  std::string text = ReplaceInvalidUtf8(held_);
  held_.clear();
  return text;
}

// Whole characters and bytes that can never become one; an incomplete character at the end stays.
std::string Utf8Stream::TakeWhole() {
  std::string text;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Utf8Step step = DecodeUtf8(rest);
    if (step.status == Utf8Status::kIncomplete) break;
    text +=
        step.status == Utf8Status::kValid ? rest.substr(0, step.num_bytes) : kReplacementCharacter;
    rest.remove_prefix(step.num_bytes);
  }
  held_ = std::string(rest);
  return text;
}

}  // namespace cadre
