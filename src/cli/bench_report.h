// What `cadre bench` measures and how it says it, for people and for scripts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/shared_options.h"
#include "cpu/limits.h"
#include "model/experts.h"
#include "plan/predict.h"

namespace cadre {

// What the options say.
struct BenchCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model, preset;
  std::string type = "q4_0";
  int64_t layers = 0;
  int64_t prompt = 512, generate = 64, depth = 0, batch = 1;
  int repeat = 5;
  std::vector<std::string> routing_files;
  bool json = false;
};

struct Spread {
  double median = 0, min = 0, max = 0;
};

// What the weights of a model cost.
struct Work {
  double shared_bytes = 0;           // read for any token
  double expert_bytes = 0;           // of one expert of one layer
  double bytes_per_step = 0;         // read for one token of each sequence of the batch
  double operations_per_prompt = 0;  // products and sums with weights, of a whole prompt
};

struct Measured {
  Spread prompt, generate;  // tokens per second
  Work work;
  Limits limits;
  DType expert_type = DType::kF32;
  double peak_rss_bytes = 0;
  std::optional<ExpertStats> fetching;  // with --memory
  std::optional<Prediction> predicted;  // where experts that are missing are waited for
  double predicted_bytes = 0;           // of memory
};

void PrintResult(const Measured& measured, const BenchCommand& command);

}  // namespace cadre
