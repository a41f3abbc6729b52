// What Prometheus is told: counters and gauges of the engine, and histograms of what clients feel.
// Text format 0.0.4.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "engine/engine.h"

namespace cadre {

// Cumulative buckets over seconds.
class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds) {}
  void Observe(double seconds);
  // The lines of metric `name`, with # HELP and # TYPE.
  void Print(const char* name, const char* help, std::string& out) const;

 private:
  static constexpr size_t kMaxBuckets = 20;
  std::span<const double> bounds_;  // ascending, at most kMaxBuckets - 1
  std::array<uint64_t, kMaxBuckets> counts_ =
      {};  // of each bucket alone; the last: above all bounds
  uint64_t count_ = 0;
  double sum_ = 0;
};

// Thread-safe.
class ApiMetrics {
 public:
  ApiMetrics();

  void CountResponse(const std::string& route, int status);
  void ObserveFirstToken(double seconds);
  void ObserveBetweenTokens(double seconds);
  void ObserveRequest(double seconds);
  void ObserveQueue(double seconds);

  // `num_layers`: of the model, to split the experts' counts.
  std::string Print(const EngineStats& stats, const std::string& model, int64_t num_layers) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> responses_;  // of (route, status)
  Histogram first_token_;
  Histogram between_tokens_;
  Histogram request_;
  Histogram queue_;
};

}  // namespace cadre
