#include "plan/memory.h"

namespace cadre {

int64_t TotalBytes(const MemoryPlan& plan) {
  return plan.costs.Fixed() + plan.kv_bytes + (plan.slots + plan.guesses) * plan.costs.slot;
}

MemoryPlan PlanFor(const Model& model, const Device& device, int num_threads, const RunNeeds& needs,
                   const MemoryWish& wish) {
  MemoryCosts costs = CostsOf(model, device, num_threads, needs, wish.form);
  costs.process = wish.process;
  const KvNeeds kv = {.page_bytes = model.config.kv_shape(wish.kv_type).page_bytes(),
                      .least_pages = needs.least_pages,
                      .most_pages = needs.most_pages};
  if (wish.budget > 0) return PlanMemory(wish.budget, costs, kv, wish.max_guesses);
  MemoryPlan all;
  all.costs = costs;
  all.costs.reading = 0;
  all.slots = costs.num_experts;
  all.kv_pages = kv.most_pages;
  all.kv_bytes = all.kv_pages * kv.page_bytes;
  const int64_t room = wish.available / 10 * 9;
  if (wish.available == 0 || TotalBytes(all) <= room) return all;
  return PlanMemory(room, costs, kv, wish.max_guesses);
}

}  // namespace cadre
