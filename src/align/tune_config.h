// What `cadre sft` and `cadre dpo` are told. Keys, settings and refusals as in train/config_keys.h.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "align/data_line.h"
#include "align/preference_loss.h"
#include "model/adapters.h"
#include "train/data_sources.h"
#include "train/run_config.h"

namespace cadre {

struct TuneConfig : RunConfig {
  std::string model;      // a path
  LoraConfig lora;        // adapters to train in place of all weights
  std::string lora_from;  // a folder of adapters to go on with; empty: new ones
  std::string data_folder;
  std::vector<DataSource> train;
  std::vector<DataSource> valid;  // weights mean nothing
  double held_back = 0;  // share of the prompts of `train` that is measured, not trained on
  StringsAs strings = StringsAs::kChat;
  bool skip_bad_lines = false;
  bool replay_routing = false;     // train with the experts that the model before chooses
  int64_t micro_tokens = 8192;     // rows that run at once, unless one sequence (or pair) is longer
  int64_t validate_samples = 200;  // of each source; 0: all

  // Rather than all weights.
  bool trains_adapters() const { return lora.rank > 0 || !lora_from.empty(); }
};

struct SftConfig : TuneConfig {
  int64_t batch_tokens = 4096;
  int64_t segment_tokens = 512;

  // Of a pass forward; measuring takes no more memory than a step.
  int64_t rows_at_once() const { return std::min(micro_tokens, batch_tokens); }
};

// What is left of a pair that is too long.
struct PairLimits {
  enum class Prompt { kKeepEnd, kKeepStart, kDropPair };
  int64_t max_tokens = 512;
  int64_t max_prompt_tokens = 256;
  Prompt long_prompt = Prompt::kKeepEnd;
};

struct DpoConfig : TuneConfig {
  int64_t batch_pairs = 32;
  PairLimits limits;
  PreferenceConfig preference;
  std::string reference_cache;  // a path; empty: in the folder of the run

  // As SftConfig's, of pairs at their longest.
  int64_t rows_at_once() const {
    return std::min(micro_tokens, 2 * batch_pairs * limits.max_tokens);
  }
};

SftConfig ParseSftConfig(const Json& json, const std::vector<std::string>& settings,
                         const std::string& name);
DpoConfig ParseDpoConfig(const Json& json, const std::vector<std::string>& settings,
                         const std::string& name);

// Key and what it means with its default, in order.
std::vector<std::pair<std::string, std::string>> SftConfigKeys();
std::vector<std::pair<std::string, std::string>> DpoConfigKeys();

}  // namespace cadre
