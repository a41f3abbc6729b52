// How fast a model will run here, before it is loaded: from the shapes and types of its matrices,
// what the machine was measured to do, and what is known of its routing. Pure.
#pragma once

#include <map>
#include <optional>

#include "model/weights.h"
#include "plan/fetch_timeline.h"
#include "plan/matmul_times.h"
#include "plan/routing.h"
#include "store/memory_plan.h"

namespace cadre {

// What is run. As `cadre bench`: a prompt behind `depth` tokens, then single tokens, of `batch`
// sequences side by side.
struct RunShape {
  int64_t prompt = 512, generate = 64, depth = 0, batch = 1;
};

// Seconds of all in a layer but its products: norms, rotation, attention, SwiGLU, gathering.
struct LayerRest {
  double first_chunk = 0, last_chunk = 0;  // of a prompt
  double step = 0;                         // of generation
  double narrow_share = 1;  // of a chunk's, where FFN runs for the wanted row only: the last layer's
};

// Bytes per second that one expert of the model's own file is read with, alone; 0: not measured.
struct DiskSpeed {
  double needed = 0;
  double guessed = 0;  // at the pace of guesses
};

// What this machine does, measured (plan/measure.h).
struct Machine {
  int threads = 1;
  MatMulTimes products;
  std::map<DType, double> pack_bytes_per_s;  // of stored bytes, one thread; absent: not packed
  LayerRest rest;
  DiskSpeed disk;
};

struct Prediction {
  double prompt_tokens_per_s = 0;    // as bench measures it: not the first prompt of the process
  double generate_tokens_per_s = 0;  // of all sequences together
  double first_token_s = 0;          // after the prompt, with no expert in memory that is fetched
  double load_s = 0;                 // until the first prompt can begin, from the disk
  double bytes_per_step = 0;         // of weights that a step of generation reads from memory
  // With experts that are fetched, of generation:
  std::optional<double> hit_rate;
  double disk_bytes_per_token = 0;
  double waiting_share = 0;  // of the time, for the disk
};

// plan: what is resident; all experts where plan.slots is their number. Its types must be among the
// machine's products, and its disk measured where not all experts have room.
Prediction Predict(const Model& model, const Machine& machine, const RunShape& run,
                   const MemoryPlan& plan, const RoutingStatistics& routing, CachePolicy policy,
                   uint64_t seed);

}  // namespace cadre
