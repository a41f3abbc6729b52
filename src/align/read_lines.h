// The lines of JSON-lines files through an encoder, many at a time, in their order.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/compressed.h"
#include "base/error.h"
#include "base/json.h"
#include "base/lines.h"
#include "base/log.h"
#include "base/thread_pool.h"

namespace cadre {

struct LineCounts {
  int64_t lines = 0;
  int64_t bad = 0;       // that could not be read or said
  int64_t unusable = 0;  // with nothing to learn, or too long to keep any of it
  int64_t cut = 0;       // that lost their end, or a prompt its beginning
};

// Calls `encode` for each line, on any thread, and `take` with what it returned, one after another
// in the order of the lines. A line that throws Error ends it all with that Error, or, with
// `skip_bad`, is counted and left out, the first with a warning.
template <typename Encoded>
void EncodeLines(
    const std::vector<std::string>& files, bool skip_bad, ThreadPool& threads, LineCounts& counts,
    const std::function<Encoded(const OrderedJson& line, const std::string& name)>& encode,
    const std::function<void(Encoded&&)>& take) {
  constexpr size_t kLinesTogether = 512;
  constexpr size_t kBytesTogether = size_t{64} << 20;
  struct Line {
    std::string text, name, error;
    std::optional<Encoded> encoded;
  };
  std::vector<Line> lines;
  size_t bytes = 0;
  const auto flush = [&] {
    threads.ParallelFor(static_cast<int64_t>(lines.size()), [&](int64_t i, int) {
      Line& line = lines[static_cast<size_t>(i)];
      try {
        line.encoded = encode(ParseOrderedJson(line.text, line.name), line.name);
      } catch (const Error& error) {
        line.error = error.what();
      }
    });
    for (Line& line : lines) {
      ++counts.lines;
      if (line.encoded) {
        take(std::move(*line.encoded));
      } else if (!skip_bad) {
        throw Error("{}", line.error);
      } else if (++counts.bad == 1) {
        log::warn("skipped: {}", line.error);
      }
    }
    lines.clear();
    bytes = 0;
  };
  for (const auto& file : files) {
    const std::string_view inner = UncompressedName(file);
    if (!inner.ends_with(".jsonl") && !inner.ends_with(".json"))
      throw Error("{}: must end in .jsonl, with .zst or .gz behind it or not", file);
    ReadLines(file, [&](std::string line, std::string name) {
      bytes += line.size();
      lines.push_back({std::move(line), std::move(name), {}, {}});
      if (lines.size() == kLinesTogether || bytes > kBytesTogether) flush();
    });
  }
  flush();
}

}  // namespace cadre
