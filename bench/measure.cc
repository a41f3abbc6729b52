#include "bench/measure.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"

namespace cadre::bench {
namespace {

constexpr int kTurns = 11;

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], at - static_cast<double>(below));
}

// Runs per second, of `count` runs.
double RunsPerSecond(const std::function<void()>& run, int64_t count) {
  const Stopwatch watch;
  for (int64_t i = 0; i < count; ++i) run();
  return static_cast<double>(count) / std::max(watch.Seconds(), 1e-9);
}

// How many runs fill so many seconds, at least one: a first guess from one run, then from as many.
int64_t RunsIn(double seconds, const std::function<void()>& run) {
  int64_t runs = 1;
  for (int i = 0; i < 2; ++i)
    runs = std::max<int64_t>(1, std::llround(seconds * RunsPerSecond(run, runs)));
  return runs;
}

const Demand& Longest(const std::vector<Demand>& demands, const Meters& meters, double seconds) {
  if (demands.size() == 1) return demands[0];
  std::vector<double> times;
  for (const Demand& demand : demands)
    times.push_back(demand.amount / meters(demand.limit).PerSecond(seconds));
  return demands[static_cast<size_t>(std::max_element(times.begin(), times.end()) - times.begin())];
}

}  // namespace

Measured Measure(const Work& work, const Meters& meters, double seconds) {
  const double turn_seconds = seconds / (2 * kTurns);
  const Demand& demand = Longest(work.demands, meters, turn_seconds);
  LimitMeter& limit = meters(demand.limit);
  work.run();  // fills the caches
  const int64_t runs_of_turn = RunsIn(turn_seconds, work.run);
  std::vector<double> figures, limits, shares;
  const Stopwatch watch;
  do {
    limits.push_back(limit.PerSecond(turn_seconds));
    figures.push_back(demand.amount * RunsPerSecond(work.run, runs_of_turn));
    shares.push_back(figures.back() / limits.back());
  } while (watch.Seconds() < seconds);
  return {demand.limit,
          Quantile(figures, 0.5),
          Quantile(limits, 0.5),
          {Quantile(shares, 0.5), Quantile(shares, 0.25), Quantile(shares, 0.75)}};
}

}  // namespace cadre::bench
