// Ends a text before the first of some strings, as the text comes piece by piece: what may become a
// stop string is held back, however the pieces are cut. Refuses empty stop strings and ones that
// are not UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cadre {

class StopStrings {
 public:
  // Throws Error.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that can be shown now that `text` (whole characters) has come; nothing once stopped.
  // Of several matches the one that is complete first counts, of those the longest.
  std::string Push(std::string_view text);
  bool stopped() const { return stopped_; }

  // What was held back, when no more text comes.
  std::string Flush();

 private:
  size_t HeldBytes() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace cadre
