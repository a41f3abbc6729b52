#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace cadre {

Progress::Progress(std::string label, int64_t total, int64_t done)
    : label_(std::move(label)),
      total_(total),
      started_at_(done),
      shown_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (drawn_) std::fputc('\n', stderr);
}

void Progress::Update(int64_t done, std::string_view note) {
  if (!shown_) return;
  const double now = watch_.Seconds();
  if (done < total_ && now - last_draw_s_ < 0.1) return;
  last_draw_s_ = now;
  drawn_ = true;
  constexpr int kWidth = 24;
  const double share =
      total_ > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0)
                 : 0;
  const int filled = static_cast<int>(share * kWidth);
  const int64_t since_start = done - started_at_;
  const double left =
      since_start > 0 ? now / static_cast<double>(since_start) * static_cast<double>(total_ - done)
                      : 0;
  fmt::print(stderr, "\r{} [{:#<{}}{:.<{}}] {:3.0f}% {} left  {}\x1b[K", label_, "", filled, "",
             kWidth - filled, 100 * share, ShortDuration(left), note);
  std::fflush(stderr);
}

std::string ShortDuration(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

std::string ShortBytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

}  // namespace cadre
