#include "cli/fetching.h"

#include <fmt/format.h>

#include "base/log.h"
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

// What did not run as the router and the file would have it.
std::string StandIns(const ExpertStats::Layer& of) {
  if (of.low_bit + of.next_best == 0) return "exact";
  return fmt::format("{} of {} choices ({}) {}: not exact", of.low_bit + of.next_best, of.choices,
                     Percent(of.low_bit + of.next_best, of.choices - of.low_bit - of.next_best),
                     of.low_bit > 0 ? "by copies in fewer bits" : "by the next best expert");
}

OrderedJson ToJson(const ExpertStats::Layer& of) {
  return {{"hits", of.hits},
          {"misses", of.misses},
          {"hit_rate", Share(of.hits, of.misses)},
          {"begun_early", of.begun},
          {"foreseen", Share(of.foreseen, of.unforeseen)},
          {"choices", of.choices},
          {"low_bit", of.low_bit},
          {"next_best", of.next_best}};
}

}  // namespace

OrderedJson ToJson(const ExpertStats& stats) {
  const ExpertStats::Layer all = stats.Sum();
  OrderedJson recall = OrderedJson::array(), layers = OrderedJson::array();
  for (const auto& layer : stats.layers) {
    recall.push_back(Share(layer.foreseen, layer.unforeseen));
    layers.push_back(ToJson(layer));
  }
  const int64_t stand_ins = all.low_bit + all.next_best;
  return {{"slots", stats.slots},
          {"hits", all.hits},
          {"misses", all.misses},
          {"hit_rate", Share(all.hits, all.misses)},
          {"begun_early", all.begun},
          {"read_bytes", stats.bytes_read},
          {"stall_s", stats.stall_s},
          {"foreseen", Share(all.foreseen, all.unforeseen)},
          {"foreseen_by_layer", recall},
          {"choices", all.choices},
          {"low_bit", all.low_bit},
          {"next_best", all.next_best},
          {"inexact", Share(stand_ins, all.choices - stand_ins)},
          {"layers", layers}};
}

std::string ToText(const ExpertStats& stats) {
  const ExpertStats::Layer all = stats.Sum();
  return fmt::format(
      "experts: {} hits and {} misses ({} hits), {} of those needed next foreseen, {} misses begun "
      "early; {} read, {:.2f} s waited for; {}",
      all.hits, all.misses, Percent(all.hits, all.misses), Percent(all.foreseen, all.unforeseen),
      all.begun, ShortBytes(static_cast<double>(stats.bytes_read)), stats.stall_s, StandIns(all));
}

std::string ToTable(const ExpertStats& stats) {
  std::string text = "layer      hits    misses  hit rate  foreseen  begun early  not exact\n";
  for (size_t l = 0; l < stats.layers.size(); ++l) {
    const auto& of = stats.layers[l];
    const int64_t stand_ins = of.low_bit + of.next_best;
    text += fmt::format("{:5} {:9} {:9} {:>9} {:>9} {:>12} {:>10}\n", l, of.hits, of.misses,
                        Percent(of.hits, of.misses), Percent(of.foreseen, of.unforeseen), of.begun,
                        Percent(stand_ins, of.choices - stand_ins));
  }
  return text;
}

void LogFetching(const ExpertStats& stats) {
  log::info("{}", ToText(stats));
  log::debug("by layer\n{}", ToTable(stats));
}

}  // namespace cadre
