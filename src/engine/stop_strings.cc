#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace cadre {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const auto& stop : stops_) {
    if (stop.empty()) throw Error("a stop string is empty but must have a character");
    if (!IsValidUtf8(stop)) throw Error("stop string '{}' is not UTF-8", Printable(stop));
  }
}

std::string StopStrings::Push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  size_t match_begin = 0;
  size_t match_end = std::string::npos;
  for (const auto& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (match_end == std::string::npos || end < match_end ||
        (end == match_end && begin < match_begin)) {
      match_begin = begin;
      match_end = end;
    }
  }
  stopped_ = match_end != std::string::npos;
  std::string shown = held_.substr(0, stopped_ ? match_begin : held_.size() - HeldBytes());
  held_.erase(0, stopped_ ? held_.size() : shown.size());
  return shown;
}

std::string StopStrings::Flush() { return std::exchange(held_, {}); }

// The longest end of held_ that some stop string begins with.
size_t StopStrings::HeldBytes() const {
  size_t most = 0;
  for (const auto& stop : stops_) {
    for (size_t size = std::min(stop.size() - 1, held_.size()); size > most; --size) {
      if (held_.ends_with(std::string_view(stop).substr(0, size))) {
        most = size;
        break;
      }
    }
  }
  return most;
}

}  // namespace cadre
