#include "engine/answer_text.h"

#include <limits>
#include <utility>

namespace cadre {
namespace {

constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();

}  // namespace

AnswerText::AnswerText(const Tokenizer& tokenizer, LeadingSpace leading_space,
                       std::vector<std::string> stops)
    : stream_(tokenizer, leading_space), stops_(std::move(stops)) {}

AnswerText::Shown AnswerText::Push(int32_t id, bool may_stop) {
  const std::string text = stream_.Push(id);
  decoded_bytes_ += std::ssize(text);
  // A token that leaves a character open ends where that does.
  for (auto end = ends_.rbegin(); end != ends_.rend() && *end == kOpen && !stream_.holds(); ++end)
    *end = decoded_bytes_;
  ends_.push_back(stream_.holds() ? kOpen : decoded_bytes_);
  if (may_stop) return Show(stops_.Push(text));
  return Show(stops_.Flush() + text);
}

AnswerText::Shown AnswerText::Finish() {
  if (stops_.stopped()) {  // the tokens whose text begins before the end
    Shown shown;
    while (!ends_.empty() && counted_begin_ < shown_bytes_) {
      counted_begin_ = ends_.front();
      ends_.pop_front();
      ++shown.tokens;
    }
    return shown;
  }
  const std::string rest = stream_.Flush();
  decoded_bytes_ += std::ssize(rest);
  std::string text = stops_.Push(rest);
  text += stops_.Flush();
  Shown shown = Show(std::move(text));
  shown.tokens += std::ssize(ends_);
  ends_.clear();
  return shown;
}

AnswerText::Shown AnswerText::Show(std::string text) {
  shown_bytes_ += std::ssize(text);
  Shown shown = {std::move(text), 0};
  if (stops_.stopped()) return shown;
  while (!ends_.empty() && ends_.front() <= shown_bytes_) {
    counted_begin_ = ends_.front();
    ends_.pop_front();
    ++shown.tokens;
  }
  return shown;
}

}  // namespace cadre
