#include "cli/plan_report.h"

#include "base/error.h"
#include "base/progress.h"

namespace cadre {
namespace {

std::string Short(double bytes) { return ShortBytes(bytes); }
std::string Short(int64_t bytes) { return ShortBytes(static_cast<double>(bytes)); }

bool Fetches(const MemoryPlan& plan) { return plan.slots < plan.costs.num_experts; }

OrderedJson MemoryJson(const MemoryPlan& plan) {
  return {{"budget_bytes", plan.budget},
          {"program_bytes", plan.costs.process},
          {"shared_weight_bytes", plan.costs.shared},
          {"activation_bytes", plan.costs.activations},
          {"answer_bytes", plan.costs.answers},
          {"reading_bytes", plan.costs.reading},
          {"kv_bytes", plan.kv_bytes},
          {"expert_bytes", plan.costs.slot},
          {"slots", plan.slots},
          {"guess_slots", plan.guesses},
          {"experts", plan.costs.num_experts}};
}

OrderedJson TypeJson(const TypeOutlook& type) {
  OrderedJson json = {{"type", type.name},
                      {"is_this_file", type.is_this},
                      {"stored_bytes", type.stored_bytes},
                      {"published_kl", nullptr},
                      {"has_room", type.memory.has_value()}};
  if (type.loss) json["published_kl"] = *type.loss;
  if (!type.memory) return json;
  json["resident_bytes"] = TotalBytes(*type.memory);
  json["slots"] = type.memory->slots;
  json.update(ToJson(type.prediction));
  return json;
}

// A line of the table.
std::string Row(std::string_view name, std::string_view text) {
  return fmt::format("{:<11} {}\n", name, text);
}

std::string MemoryText(const PlanReport& report) {
  const MemoryPlan& plan = report.memory;
  const MemoryCosts& costs = plan.costs;
  std::string text =
      Row("memory",
          fmt::format("{} at most{}", Short(TotalBytes(plan)),
                      report.has_budget ? fmt::format(" of {}", Short(plan.budget))
                      : plan.budget > 0
                          ? fmt::format(": all of the model has no room in the {} that are "
                                        "free, so this is --memory {}M",
                                        Short(report.available_bytes), plan.budget / 1'000'000)
                          : fmt::format(", {} are free", Short(report.available_bytes))));
  const auto part = [&](int64_t bytes, std::string_view what) {
    if (bytes > 0) text += fmt::format("{:<11} {:>9}  {}\n", "", Short(bytes), what);
  };
  part(costs.shared, "weights that every token needs");
  part((plan.slots + plan.guesses) * costs.slot,
       Fetches(plan)
           ? fmt::format(
                 "{} of {} experts, {} each{}", plan.slots, costs.num_experts, Short(costs.slot),
                 plan.guesses > 0 ? fmt::format(", and {} that are guessed at", plan.guesses) : "")
           : fmt::format("all {} experts, {} each", costs.num_experts, Short(costs.slot)));
  part(plan.kv_bytes, "keys and values");
  part(costs.activations, "activations of the largest step");
  part(costs.answers, "logits and what is made of them");
  part(costs.reading, "pieces of the file on their way");
  part(costs.process, "the program");
  return text;
}

// Tokens per second, two digits of the slow too.
std::string Speed(double tokens_per_s) {
  return tokens_per_s < 10 ? fmt::format("{:.2f}", tokens_per_s)
                           : fmt::format("{:.1f}", tokens_per_s);
}

std::string SpeedText(const PlanReport& report, const RunShape& shape) {
  const Prediction& p = report.prediction;
  std::string text =
      Row("prompt", fmt::format("{} tokens/s for {} tokens; the first token of the first prompt "
                                "after {:.2f} s",
                                Speed(p.prompt_tokens_per_s), shape.prompt, p.first_token_s));
  text +=
      Row("generate",
          fmt::format("{} tokens/s{}, {} of weights read from memory per step",
                      Speed(p.generate_tokens_per_s),
                      shape.batch > 1 ? fmt::format(" of {} sequences together", shape.batch) : "",
                      Short(p.bytes_per_step)));
  if (p.hit_rate) {
    text += Row(
        "", fmt::format("{:.0f} % of the experts that are needed are in memory; {} per "
                        "token from the disk, which takes {:.0f} % of the time",
                        100 * *p.hit_rate, Short(p.disk_bytes_per_token), 100 * p.waiting_share));
  }
  return text + Row("start", fmt::format("about {:.1f} s until the first prompt can begin, where "
                                         "the file is not in memory yet",
                                         p.load_s));
}

std::string MachineText(const PlanReport& report, const Machine& machine) {
  return Row("machine",
             fmt::format("{} threads ({}), {:.1f} GB/s of memory read, {:.0f} GOP/s of 8-bit "
                         "vector products{}",
                         machine.threads, report.device, report.limits.stream_gigabytes_per_s,
                         report.limits.integer_gops,
                         report.limits.matrix_gops > 0
                             ? fmt::format(", {:.0f} of the matrix unit", report.limits.matrix_gops)
                             : "")) +
         Row("", fmt::format("{:.2f} GB/s of disk, an expert at a time past the page cache; {:.2f} "
                             "for guesses",
                             machine.disk.needed * 1e-9, machine.disk.guessed * 1e-9));
}

std::string TypesText(const std::vector<TypeOutlook>& types) {
  std::string text = fmt::format("\n{:<8} {:>9} {:>10} {:>9} {:>12} {:>13}  {}\n", "type", "size",
                                 "lost (KL)", "in memory", "prompt, t/s", "generate, t/s", "");
  for (const auto& type : types) {
    const std::string loss = type.loss ? fmt::format("{:.4f}", *type.loss) : "";
    text += fmt::format("{:<8} {:>9} {:>10}", type.name, Short(type.stored_bytes), loss);
    if (!type.memory) {
      text += "  no room\n";
      continue;
    }
    const double share = static_cast<double>(type.memory->slots) /
                         static_cast<double>(type.memory->costs.num_experts);
    text += fmt::format(
        " {:>7.0f} % {:>12} {:>13}  {}\n", 100 * share, Speed(type.prediction.prompt_tokens_per_s),
        Speed(type.prediction.generate_tokens_per_s), type.is_this ? "this file" : "");
  }
  return text +
         "lost: published mean KL divergence of Llama 3 8B to 16 bits (llama.cpp), nats per "
         "token; in memory: the share of experts\n";
}

std::string BestText(const std::vector<TypeOutlook>& types) {
  const TypeOutlook* best = BestType(types);
  if (best == nullptr) return "\nNo type has room in this memory.\n";
  const TypeOutlook* fastest = best;
  for (const auto& type : types) {
    if (type.memory &&
        type.prediction.generate_tokens_per_s > fastest->prediction.generate_tokens_per_s)
      fastest = &type;
  }
  std::string text = fmt::format(
      "\n{} suits this machine best: of the types that generate at least half as fast as the "
      "fastest ({}, {} tokens/s)\nit loses least. {}\n",
      best->name, fastest->name, Speed(fastest->prediction.generate_tokens_per_s),
      Fetches(*best->memory)
          ? fmt::format("Experts are fetched: {:.0f} % of them are in memory when they are needed.",
                        100 * best->prediction.hit_rate.value_or(0))
          : "All of it stays in memory.");
  if (best->is_this) return text + "It is what this file holds.\n";
  return text + fmt::format(
                    "From the 16-bit model: cadre quantize MODEL NAME.gguf --type {}. (A file that "
                    "is quantised already gains\nnothing from a better type.)\n",
                    best->name);
}

}  // namespace

OrderedJson ToJson(const Prediction& p) {
  OrderedJson json = {{"prompt_tokens_per_s", p.prompt_tokens_per_s},
                      {"generate_tokens_per_s", p.generate_tokens_per_s},
                      {"first_token_s", p.first_token_s},
                      {"load_s", p.load_s},
                      {"bytes_per_step", p.bytes_per_step},
                      {"hit_rate", 1.0},
                      {"disk_bytes_per_token", p.disk_bytes_per_token},
                      {"waiting_share", p.waiting_share}};
  if (p.hit_rate) json["hit_rate"] = *p.hit_rate;
  return json;
}

OrderedJson ToJson(const PlanReport& report, const Outlook& outlook) {
  const Machine& machine = outlook.machine();
  OrderedJson json = ToJson(report.prediction);
  json["resident_bytes"] = TotalBytes(report.memory);
  json["memory"] = MemoryJson(report.memory);
  json["machine"] = {{"threads", machine.threads},
                     {"device", report.device},
                     {"available_bytes", report.available_bytes},
                     {"stream_gigabytes_per_s", report.limits.stream_gigabytes_per_s},
                     {"integer_peak_gops", report.limits.integer_gops},
                     {"matrix_peak_gops", report.limits.matrix_gops},
                     {"disk_gigabytes_per_s", machine.disk.needed * 1e-9},
                     {"disk_guessed_gigabytes_per_s", machine.disk.guessed * 1e-9}};
  json["routing"] = {{"choices", outlook.routing().trace_source},
                     {"choices_are_assumed", outlook.routing().is_assumed},
                     {"foreseen", outlook.routing().foreseen},
                     {"foreseen_from", outlook.routing().foreseen_source}};
  json["types"] = OrderedJson::array();
  for (const auto& type : report.others) json["types"].push_back(TypeJson(type));
  const TypeOutlook* best = BestType(report.others);
  json["best_type"] = best == nullptr ? OrderedJson() : OrderedJson(best->name);
  return json;
}

std::string ToText(const PlanReport& report, const Outlook& outlook) {
  const RouterConfig& router = report.config.router;
  std::string text =
      Row("model", fmt::format("{}: {} layers, {}, {} ({})", Printable(report.model, 200),
                               report.config.num_layers,
                               router.dense() ? std::string("dense")
                                              : fmt::format("{} experts, {} per token",
                                                            router.num_experts, router.top_k),
                               report.types, Short(static_cast<double>(report.file_bytes))));
  text += MachineText(report, outlook.machine());
  if (Fetches(report.memory)) {
    const RoutingStatistics& routing = outlook.routing();
    text += Row("routing", fmt::format("{}; next layer foreseen: {:.0f} % ({})",
                                       Printable(routing.trace_source, 200), 100 * routing.foreseen,
                                       Printable(routing.foreseen_source, 200)));
  }
  text += MemoryText(report) + SpeedText(report, outlook.shape());
  return text + TypesText(report.others) + BestText(report.others);
}

}  // namespace cadre
