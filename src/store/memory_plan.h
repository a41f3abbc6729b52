// How a budget of bytes is shared out: what must be there, what keys and values get, and how many
// experts the rest has room for. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace cadre {

// Bytes that a run needs whatever happens, but for keys and values.
struct MemoryCosts {
  int64_t process = 0;      // the program, the tokenizer and what else is there already
  int64_t shared = 0;       // weights that every token needs
  int64_t activations = 0;  // of the largest step, with the device's scratch
  int64_t answers = 0;      // logits and what is made of them
  int64_t reading = 0;      // pieces of the file on their way
  int64_t low_bit = 0;      // copies of all experts in fewer bits; 0: there are none
  int64_t slot = 0;         // one expert
  int64_t num_experts = 0;  // of all layers
  int64_t peak = 0;         // what the process has had at most so far
  int64_t Fixed() const { return process + shared + activations + answers + reading + low_bit; }
};

// Pages of keys and values (ops/kv_view.h).
struct KvNeeds {
  int64_t page_bytes = 0;
  int64_t least_pages = 1;  // without them there is nothing to run
  int64_t most_pages = 1;   // more would never be used
};

struct MemoryPlan {
  int64_t budget = 0;
  MemoryCosts costs;
  int64_t kv_pages = 0;
  int64_t kv_bytes = 0;
  int64_t slots = 0;    // experts in the cache
  int64_t guesses = 0;  // slots beside it

  // A sentence for the log.
  std::string ToText() const;
};

// Keys and values get what they may use at most, up to a quarter of what the fixed costs leave; the
// experts get the rest. max_guesses: slots for guesses, where there are so many that a few less
// hardly matter. Throws Error naming the least budget when there is no room for one expert.
MemoryPlan PlanMemory(int64_t budget, const MemoryCosts& costs, const KvNeeds& kv,
                      int64_t max_guesses);

}  // namespace cadre
