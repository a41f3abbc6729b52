// Options that mean the same in every command that has them, and what they turn into.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/sequence.h"
#include "store/miss_policy.h"

namespace cadre {

// --threads --isa --seed --log-level: every command.
struct SharedOptions {
  int threads = 0;
  std::string isa;
  uint64_t seed = 0;
  std::string log_level = "warn";
};
void AddSharedOptions(CLI::App& command, SharedOptions& options);

// --kv --activations --context --experts --lora --no-pack: every command that runs a model.
struct ModelOptions {
  std::string kv = "f16";
  std::string activations = "auto";
  int64_t context = 0;
  int64_t experts = 0;
  std::string lora = {};
  bool no_pack = false;
  uint64_t memory = 0;
  std::string cache = "frequency";
  int64_t guesses = 2;
  std::string on_miss = "";  // none: wait, or as low_bit wants it
  std::string low_bit = {};
  double miss_wait_ms = 1;
  double miss_gate = 0.5;

  SequenceConfig Sequence() const;
  // Whether weights are packed: only rounded activations meet packed ones.
  bool packs() const { return !no_pack && activations != "f32"; }
  // Throws CLI::ValidationError where --on-miss and --low-bit do not go together.
  MissPolicy Misses() const;
};
void AddModelOptions(CLI::App& command, ModelOptions& options);
// --memory --expert-cache --expert-guesses --on-miss --low-bit --miss-wait --miss-gate: every
// command that can fetch experts as it runs.
void AddMemoryOptions(CLI::App& command, ModelOptions& options);

// --temperature --top-k ... : every command that samples. The seed is SharedOptions'.
void AddSamplerOptions(CLI::App& command, SamplerConfig& config);

// Checks for option values.
CLI::Validator AtLeast(double least);
CLI::Validator MoreThan(double least);

void AddModel(CLI::App& command, std::string& model);
void AddJson(CLI::App& command, bool& json);

// "1 2 3", separated by spaces, commas or line ends. Throws Error naming what is no token id.
std::vector<int32_t> ParseIds(const std::string& text);

}  // namespace cadre
