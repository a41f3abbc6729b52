// Everything a training run is told, as one JSON object with dotted keys ("model.dim") or nested
// objects. Every key has a sentence of documentation, shown by --help. Refuses keys it does not
// know.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "model/config.h"
#include "tensor/dtype.h"
#include "train/schedule.h"
#include "train/trainer.h"

namespace cadre {

struct TrainConfig {
  std::string name = "model";
  uint64_t seed = 1;
  ModelConfig model;  // vocab_size follows from the tokenizer

  std::string data_folder;
  std::vector<std::string> train_files;
  std::map<std::string, std::vector<std::string>> valid_files;  // by group
  std::string tokenizer_path;                                   // empty: train one
  int64_t tokenizer_vocab = 4096;

  int64_t steps = 1000;
  int64_t batch_tokens = 4096;
  int64_t segment_tokens = 512;
  Schedule schedule;  // its steps follow from `steps`
  OptimiserConfig optimiser;
  double init_sigma = 0.02;

  int64_t checkpoint_every = 200;
  int64_t validate_every = 500;
  int64_t validate_tokens = 16384;  // per group; 0: all
  DType gguf_type = DType::kF16;

  // What a run must not change when it goes on (its number of steps it may), as canonical JSON.
  std::string fingerprint;
};

// From a parsed config file (empty object: defaults) and "key=value" settings that override it;
// values are JSON, or else strings. Throws Error naming the key for unknown keys and wrong values.
TrainConfig ParseTrainConfig(const Json& json, const std::vector<std::string>& settings,
                             const std::string& name);

// Key and what it means with its default, in order.
std::vector<std::pair<std::string, std::string>> TrainConfigKeys();

}  // namespace cadre
