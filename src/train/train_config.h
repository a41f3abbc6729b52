// Everything a training run is told, as one JSON object with dotted keys ("model.dim") or nested
// objects. Every key has a sentence of documentation, shown by --help. Refuses keys it does not
// know.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "model/config.h"
#include "train/data_sources.h"
#include "train/run_config.h"

namespace cadre {

// Named routers of the one MoE; `router.kind` picks one, the other keys change it.
enum class RouterKind {
  kMixtral,  // softmax over the chosen (arXiv 2401.04088)
  kSwitch,   // one expert, gate from the softmax over all (arXiv 2101.03961)
  kNoisy,    // as kMixtral, with learnt noise on the logits (arXiv 1701.06538)
};

struct TrainConfig : RunConfig {
  ModelConfig model;  // vocab_size follows from the tokenizer; the router from the next two
  RouterKind router_kind = RouterKind::kMixtral;
  std::optional<bool> norm_topk_prob;  // empty: as the kind has it

  std::string data_folder;
  std::vector<DataSource> train;
  std::map<std::string, std::vector<std::string>> valid_files;  // by group
  std::string tokenizer_path;                                   // empty: train one
  int64_t tokenizer_vocab = 4096;

  int64_t batch_tokens = 4096;
  int64_t segment_tokens = 512;
  int64_t micro_tokens = 8192;  // rows that run at once
  double init_sigma = 0.02;
  int64_t validate_tokens = 16384;  // per group; 0: all
};

// From a parsed config file (empty object: defaults) and "key=value" settings that override it;
// values are JSON, or else strings. Throws Error naming the key for unknown keys and wrong values.
TrainConfig ParseTrainConfig(const Json& json, const std::vector<std::string>& settings,
                             const std::string& name);

// Makes the schedule of what was read. Throws Error for one that cannot be.
void FinishSchedule(RunConfig& config, const std::string& name);

// The keys that every kind of training has: learning rate, optimiser, checkpoints, what is written.
// What `config` holds is documented as the defaults.
std::vector<ConfigKey> RunKeys(RunConfig& config);

// Key and what it means with its default, in order.
std::vector<std::pair<std::string, std::string>> TrainConfigKeys();

}  // namespace cadre
