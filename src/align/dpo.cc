#include "align/dpo.h"

#include "align/base_model.h"
#include "align/dpo_task.h"
#include "align/held_routing.h"
#include "base/digest.h"
#include "base/log.h"
#include "text/sentencepiece_model.h"

namespace cadre {
namespace {

// Pairs that are scored between two writes of the cache.
constexpr int64_t kScoredTogether = 16;

// All pairs, in the order of the cache.
std::vector<const Pair*> AllPairs(const std::vector<PreferenceSource>& train,
                                  const std::vector<PreferenceSource>& valid) {
  std::vector<const Pair*> pairs;
  for (const auto* sources : {&train, &valid}) {
    for (const auto& source : *sources) {
      for (const auto* list : {&source.train, &source.held_back})
        for (const auto& pair : *list) pairs.push_back(&pair);
    }
  }
  return pairs;
}

// What the reference's log-probabilities depend on.
OrderedJson CacheKey(const DpoConfig& config, const BaseModel& base, Trainer& trainer,
                     const std::vector<const Pair*>& pairs) {
  const RunText text = base.run_text();
  const auto sha = [](std::string_view bytes) {
    return Sha256(std::as_bytes(std::span(bytes.data(), bytes.size())));
  };
  OrderedJson key;
  key["what"] = "log-probabilities of a reference model";
  key["model"] = base.HashWeights(trainer);
  key["tokenizer"] = sha(WriteSentencePieceModel(text.tokenizer.vocabulary()));
  key["chat format"] = fmt::format("v{}", static_cast<int>(base.text().version));
  key["chat template"] = sha(text.chat_template);
  key["truncation"] = {config.limits.max_tokens, config.limits.max_prompt_tokens,
                       static_cast<int>(config.limits.long_prompt)};
  key["data"] = HashPairs(pairs);
  key["pairs"] = pairs.size();
  return key;
}

// The sources of `train` with their held-back pairs, then those of `valid`, which are only
// measured.
std::vector<DpoTask::Source> Refer(const std::vector<PreferenceSource>& train,
                                   const std::vector<PreferenceSource>& valid,
                                   const std::vector<ReferencePair>& references) {
  std::vector<DpoTask::Source> sources;
  size_t next = 0;
  const auto refer = [&](const std::vector<Pair>& pairs, std::vector<ReferredPair>& to) {
    for (const auto& pair : pairs) to.push_back({&pair, references[next++]});
  };
  for (const auto& source : train) {
    auto& to = sources.emplace_back(DpoTask::Source{source.name, source.weight, {}, {}});
    refer(source.train, to.train);
    refer(source.held_back, to.held_back);
  }
  for (const auto& source : valid) {
    auto& to = sources.emplace_back(DpoTask::Source{source.name, 0, {}, {}});
    refer(source.train, to.held_back);
  }
  return sources;
}

void WarnOfPitfalls(const DpoConfig& config, const std::vector<PreferenceSource>& train,
                    const std::vector<PreferenceSource>& valid) {
  size_t pairs = 0, held_back = 0;
  for (const auto& source : train) {
    pairs += source.train.size();
    held_back += source.held_back.size();
  }
  for (const auto& source : valid) held_back += source.train.size();
  if (held_back == 0)
    log::warn(
        "no pairs are held back (data.held_back, data.valid): nothing tells learning from "
        "learning by heart");
  const double epochs =
      static_cast<double>(config.steps * config.batch_pairs) / static_cast<double>(pairs);
  if (epochs > 1.05)
    log::warn(
        "the run goes {:.1f} times through its {} pairs: from the second time on the training "
        "loss falls because pairs are known by heart; trust the held-back figures",
        epochs, pairs);
  if (config.optimiser.dropout.rate > 0 || config.optimiser.dropout.expert_rate > 0)
    log::warn("dropout makes the policy's log-probabilities noise beside the reference's");
  const auto& p = config.preference;
  if (p.label_smoothing > 0 && (p.loss == PreferenceLoss::kIpo || p.loss == PreferenceLoss::kHinge))
    log::warn("dpo.label_smoothing means nothing to this loss: it is for sigmoid and robust");
}

bool Train(const DpoConfig& config, const RunControl& options, const BaseModel& base,
           const std::vector<PreferenceSource>& train, const std::vector<PreferenceSource>& valid,
           const std::vector<ReferencePair>& references, Trainer& trainer, Device& device) {
  DpoTask task(config, Refer(train, valid, references));
  task.RememberRouting(trainer);
  HeldTask held(task, config, base.beginning(), trainer.device());
  if (!Run(trainer, held, config, base.run_text(), options, device.threads())) return false;
  task.drift().Report(trainer, options.out + "/router-drift.json");
  return true;
}

}  // namespace

bool Dpo(const DpoConfig& config, const RunControl& options, Device& device, BackwardOps& ops) {
  const bool goes_on = BeginRun(options);
  const BaseModel base(config.model, config.lora_from);
  const ModelConfig model = base.config();
  if (model.router.capacity_factor > 0) {
    throw Error(
        "{}: its router drops tokens (capacity factor {}), so that an answer's probability depends "
        "on its batch; preferences need a router without capacity",
        config.model, model.router.capacity_factor);
  }
  const auto train =
      ReadPreferences(config.train, config, config.held_back, base.text(), device.threads());
  const auto valid = ReadPreferences(config.valid, config, 0, base.text(), device.threads());
  WarnOfPitfalls(config, train, valid);
  const auto trainer = MakeTrainer(base, config, device, ops);
  const auto pairs = AllPairs(train, valid);
  const std::string cache =
      config.reference_cache.empty() ? options.out + "/reference.jsonl" : config.reference_cache;
  if (config.preference.reference_free) {
    return Train(config, options, base, train, valid, std::vector<ReferencePair>(pairs.size()),
                 *trainer, device);
  }
  const auto references = CachedReference(
      cache, CacheKey(config, base, *trainer, pairs), std::ssize(pairs), kScoredTogether, goes_on,
      [&](int64_t begin, int64_t end) {
        const std::span<const Pair* const> all = pairs;
        return ScorePairs(*trainer,
                          all.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
                          config.rows_at_once());
      },
      options.stop);
  if (!references) return false;
  return Train(config, options, base, train, valid, *references, *trainer, device);
}

}  // namespace cadre
