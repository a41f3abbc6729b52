// A progress bar on stderr, drawn only when stderr is a terminal and at most ten times a second.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace cadre {

class Progress {
 public:
  Progress(std::string label, int64_t total, int64_t done = 0);
  // Ends the line.
  ~Progress();
  // `note` stands behind the bar, such as "loss 3.21".
  void Update(int64_t done, std::string_view note = {});

 private:
  std::string label_;
  int64_t total_;
  int64_t started_at_;
  bool shown_;
  bool drawn_ = false;
  double last_draw_s_ = -1;
  Stopwatch watch_;
};

// "1h02m", "3m05s", "12s".
std::string ShortDuration(double seconds);
// "17.3 GB", "512 B" (powers of ten).
std::string ShortBytes(double bytes);

}  // namespace cadre
