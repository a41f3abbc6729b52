#include "cli/fetching.h"

#include <fmt/format.h>

#include "base/progress.h"

namespace cadre {
namespace {

// Null where there was nothing to share out.
OrderedJson Share(int64_t part, int64_t rest) {
  if (part + rest == 0) return nullptr;
  return static_cast<double>(part) / static_cast<double>(part + rest);
}

std::string Percent(int64_t part, int64_t rest) {
  if (part + rest == 0) return "none";
  return fmt::format("{:.1f} %",
                     100 * static_cast<double>(part) / static_cast<double>(part + rest));
}

}  // namespace

OrderedJson ToJson(const ExpertStats& stats) {
  const ExpertStats::Layer all = stats.Sum();
  OrderedJson recall = OrderedJson::array();
  for (const auto& layer : stats.layers) recall.push_back(Share(layer.foreseen, layer.unforeseen));
  return {{"slots", stats.slots},       {"hits", all.hits},
          {"misses", all.misses},       {"hit_rate", Share(all.hits, all.misses)},
          {"begun_early", all.begun},   {"read_bytes", stats.bytes_read},
          {"stall_s", stats.stall_s},   {"foreseen", Share(all.foreseen, all.unforeseen)},
          {"foreseen_by_layer", recall}};
}

std::string ToText(const ExpertStats& stats) {
  const ExpertStats::Layer all = stats.Sum();
  return fmt::format(
      "experts: {} hits and {} misses ({} hits), {} of those needed next foreseen, {} misses begun "
      "early; {} read, {:.2f} s waited for",
      all.hits, all.misses, Percent(all.hits, all.misses), Percent(all.foreseen, all.unforeseen),
      all.begun, ShortBytes(static_cast<double>(stats.bytes_read)), stats.stall_s);
}

}  // namespace cadre
