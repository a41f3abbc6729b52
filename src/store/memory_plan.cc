#include "store/memory_plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/progress.h"

namespace cadre {
namespace {

// A slot for a guess is one less for the cache.
constexpr int64_t kSlotsPerGuess = 8;

std::string Short(int64_t bytes) { return ShortBytes(static_cast<double>(bytes)); }

// Why there must be so much, one cost after the other.
std::string CostsText(const MemoryCosts& costs, int64_t kv_bytes) {
  return fmt::format(
      "{} for the program, {} for the weights that every token needs, {} for activations, {} for "
      "what is made of them, {} for keys and values, {} to read{}",
      Short(costs.process), Short(costs.shared), Short(costs.activations), Short(costs.answers),
      Short(kv_bytes), Short(costs.reading),
      costs.low_bit > 0 ? fmt::format(", {} for all experts in fewer bits", Short(costs.low_bit))
                        : "");
}

}  // namespace

MemoryPlan PlanMemory(int64_t budget, const MemoryCosts& costs, const KvNeeds& kv,
                      int64_t max_guesses) {
  const int64_t least_kv = kv.least_pages * kv.page_bytes;
  const int64_t least = std::max(costs.Fixed() + least_kv + costs.slot, costs.peak);
  if (budget < least) {
    constexpr int64_t kMegabyte = 1'000'000;
    throw Error("--memory is {} bytes but this run needs {}M at least: {}, {} for one expert",
                budget, (least + kMegabyte - 1) / kMegabyte, CostsText(costs, least_kv),
                Short(costs.slot));
  }
  MemoryPlan plan;
  plan.budget = budget;
  plan.costs = costs;
  const int64_t left = budget - costs.Fixed();
  const int64_t pages = std::min(left / 4, left - costs.slot) / kv.page_bytes;
  plan.kv_pages = std::clamp(pages, kv.least_pages, std::max(kv.least_pages, kv.most_pages));
  plan.kv_bytes = plan.kv_pages * kv.page_bytes;
  const int64_t slots = (left - plan.kv_bytes) / costs.slot;
  plan.slots = std::min(slots, costs.num_experts);
  if (plan.slots < costs.num_experts) {
    plan.guesses = std::min(max_guesses, slots / kSlotsPerGuess);
    plan.slots -= plan.guesses;
  }
  return plan;
}

std::string MemoryPlan::ToText() const {
  return fmt::format("{} of memory: {}; the rest has room for {} of {} experts, {} each{}",
                     Short(budget), CostsText(costs, kv_bytes), slots, costs.num_experts,
                     Short(costs.slot),
                     guesses > 0 ? fmt::format(", and {} that are guessed at", guesses) : "");
}

}  // namespace cadre
