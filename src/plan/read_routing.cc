// Routing statistics from the files that other commands write.
#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "plan/routing.h"
#include "store/expert_cache.h"

namespace cadre {
namespace {

constexpr int64_t kTokens = 1024;
// Guesses by the next layer's router; curves of Mixtral offloading (arXiv 2312.17238) lie at .8 to
// .9 with as many guesses as choices.
constexpr double kForeseen = 0.8;

std::vector<int32_t> ReadChoice(const Json& row, const ModelConfig& config, const std::string& at) {
  std::vector<int32_t> chosen;
  if (!row.is_array()) throw Error("{} is no list of experts", at);
  for (const Json& value : row) {
    const int64_t expert = value.is_number_integer() ? value.get<int64_t>() : -2;
    if (expert < -1 || expert >= config.router.num_experts) {
      throw Error("{} names expert {} but the model has {}", at, Printable(value.dump(), 40),
                  config.router.num_experts);
    }
    const auto id = static_cast<int32_t>(expert);
    if (id >= 0 && std::find(chosen.begin(), chosen.end(), id) == chosen.end())
      chosen.push_back(id);
  }
  return chosen;
}

RoutingTrace ReadTrace(const Json& layers, const ModelConfig& config, const std::string& file) {
  if (!layers.is_array() || std::ssize(layers) != config.num_layers) {
    throw Error("{}: has routing of {} layers but the model has {}", file,
                layers.is_array() ? layers.size() : 0, config.num_layers);
  }
  std::vector<std::vector<std::vector<int32_t>>> choices;
  for (const Json& layer : layers) {
    auto& rows = choices.emplace_back();
    const auto experts = layer.is_object() ? layer.find("experts") : layer.end();
    const std::string at = fmt::format("{}: layer {}", file, choices.size() - 1);
    if (!layer.is_object() || experts == layer.end() || !experts->is_array() || experts->empty())
      throw Error("{} has no list 'experts' with a row for each token", at);
    for (const Json& row : *experts)
      rows.push_back(ReadChoice(row, config, fmt::format("{}, token {}", at, rows.size())));
    if (rows.size() != choices[0].size()) {
      throw Error("{} has {} tokens but layer 0 has {}", at, rows.size(), choices[0].size());
    }
  }
  return RoutingTrace(std::move(choices));
}

double HitRate(const RoutingTrace& trace, const ModelConfig& config, int64_t slots) {
  constexpr int64_t kReplayed = 256;
  ExpertCache cache(config.num_layers, config.router.num_experts, slots, CachePolicy::kFrequency);
  int64_t hits = 0, all = 0;
  for (int64_t t = 0; t < kReplayed; ++t) {
    for (int64_t l = 0; l < config.num_layers; ++l) {
      const auto& needed = trace.At(l, t);
      for (const int32_t expert : needed) hits += cache.Find(l, expert).has_value() ? 1 : 0;
      all += std::ssize(needed);
      cache.Use(l, needed);
      for (const int32_t expert : needed) {
        if (!cache.Find(l, expert)) cache.Insert(l, expert);
        cache.Unmark(l, expert);
      }
    }
  }
  return static_cast<double>(hits) / static_cast<double>(all);
}

// The locality with which a cache of so many slots hits so often.
RoutingTrace FitLocality(const ModelConfig& config, int64_t slots, double hit_rate, uint64_t seed) {
  double low = 0, high = 1;
  const auto trace = [&](double stay) {
    const std::vector<double> all(static_cast<size_t>(config.num_layers), stay);
    return StickyTrace(config, all, kTokens, seed);
  };
  for (int i = 0; i < 8; ++i) {
    const double middle = (low + high) / 2;
    (HitRate(trace(middle), config, slots) < hit_rate ? low : high) = middle;
  }
  return trace((low + high) / 2);
}

// The counters of a run, if the file has them.
const Json* FindCounters(const Json& json) {
  for (const char* key : {"experts", "experts_fetched"}) {
    const auto found = json.find(key);
    if (found != json.end() && found->is_object() && found->contains("hits")) return &*found;
  }
  return nullptr;
}

void UseCounters(const Json& counters, const ModelConfig& config, const std::string& file,
                 uint64_t seed, RoutingStatistics& statistics) {
  const int64_t all = config.num_layers * config.router.num_experts;
  constexpr int64_t kMost = int64_t{1} << 60;
  const int64_t slots = JsonInt(counters, "slots", 0, 1, all, file);
  const int64_t hits = JsonInt(counters, "hits", 0, 0, kMost, file);
  const int64_t misses = JsonInt(counters, "misses", 0, 0, kMost, file);
  const double foreseen = JsonNumber(counters, "foreseen", -1, file);
  if (foreseen > 1) throw Error("{}: foreseen is {} but must be at most 1", file, foreseen);
  if (foreseen >= 0) {
    statistics.foreseen = foreseen;
    statistics.foreseen_source = file;
  }
  if (!statistics.is_assumed || hits + misses == 0) return;  // a trace says more
  const double rate = static_cast<double>(hits) / static_cast<double>(hits + misses);
  statistics.trace = FitLocality(config, slots, rate, seed);
  statistics.trace_source =
      fmt::format("{}: {:.1f} % hits with room for {} experts", file, 100 * rate, slots);
}

}  // namespace

RoutingStatistics ReadRouting(const std::vector<std::string>& files, const ModelConfig& config,
                              uint64_t seed) {
  RoutingStatistics statistics;
  statistics.trace = PublishedLocality(config, kTokens, seed);
  statistics.trace_source = "assumed: neighbouring tokens share experts as in Mixtral's paper";
  statistics.foreseen = kForeseen;
  statistics.foreseen_source = "assumed";
  for (const auto& file : files) {
    const Json json = ReadJsonFile(file);
    const auto layers = json.is_object() ? json.find("layers") : json.end();
    const Json* counters = json.is_object() ? FindCounters(json) : nullptr;
    if (counters != nullptr) {
      UseCounters(*counters, config, file, seed, statistics);
    } else if (json.is_object() && layers != json.end()) {
      statistics.trace = ReadTrace(*layers, config, file);
      statistics.trace_source = fmt::format("{}: {} tokens", file, statistics.trace.num_tokens());
      statistics.is_assumed = false;
    } else {
      throw Error(
          "{}: is neither routing as logits --routing writes it nor the JSON of a run with "
          "--memory",
          file);
    }
  }
  return statistics;
}

}  // namespace cadre
