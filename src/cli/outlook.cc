#include "cli/outlook.h"

#include "cli/session.h"
#include "plan/measure.h"

namespace cadre {
namespace {

constexpr double kDiskSeconds = 3;

}  // namespace

Outlook::Outlook(const Model& model, const Checkpoint* checkpoint, Device& device,
                 const SharedOptions& shared, const ModelOptions& run, OutlookRequest request)
    : device_(device),
      shared_(shared),
      run_(run),
      request_(std::move(request)),
      routing_(ReadRouting(request_.routing_files, model.config, shared.seed)) {
  PlanOf(model);  // no room: to be said before anything is measured
  ThreadPool one(1);
  const auto packer = MakeDevice(shared, one);
  const SequenceConfig sequence = run.Sequence();
  MeasureModel(model, request_.others, request_.shape,
               {.form = run.packs() ? KeptForm::kPacked : KeptForm::kStored,
                .activation = sequence.activation,
                .kv_type = sequence.kv_type},
               device, *packer, machine_);
  if (checkpoint == nullptr) return;
  WeightFiles files(*checkpoint);
  machine_.disk = MeasureDisk(model, files, kDiskSeconds);
}

MemoryPlan Outlook::PlanOf(const Model& model) const {
  return PlanFor(model, device_, device_.threads().num_threads(), request_.needs,
                 {.budget = static_cast<int64_t>(run_.memory),
                  .available = request_.available_bytes,
                  .process = request_.process_bytes,
                  .kv_type = run_.Sequence().kv_type,
                  .form = run_.packs() ? KeptForm::kPacked : KeptForm::kStored,
                  .max_guesses = run_.guesses});
}

std::pair<MemoryPlan, Prediction> Outlook::For(const Model& model) const {
  const MemoryPlan memory = PlanOf(model);
  const auto policy = run_.cache == "lru" ? CachePolicy::kLru : CachePolicy::kFrequency;
  return {memory, Predict(model, machine_, request_.shape, memory, routing_, policy, shared_.seed)};
}

void AddRoutingFiles(CLI::App& command, std::vector<std::string>& files) {
  command
      .add_option("--routing", files,
                  "What is known of the routing: a file of logits --routing, or the JSON of "
                  "generate or bench with --memory; may be given for each. Without: as Mixtral's "
                  "paper says")
      ->check(CLI::ExistingFile)
      ->allow_extra_args(false);
}

}  // namespace cadre
