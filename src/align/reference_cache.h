// The reference model's log-probabilities of pairs, computed once and kept in a file beside what
// they are of. They depend on the data and the starting weights alone, so a run that goes on, and
// another run with other settings of the loss, read them.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace cadre {

// Of a pair's two answers, in nats.
struct ReferencePair {
  double chosen = 0;
  double rejected = 0;
};

// Computes those of pairs [begin, end).
using ReferenceComputation = std::function<std::vector<ReferencePair>(int64_t begin, int64_t end)>;

// The file at `path` when it is of `key` (an object of hashes and settings) and of `pairs` pairs.
// Otherwise they are computed, `together` at a time; what is done stays in path.partial, and a
// killed run goes on with it. The file itself appears whole. None: `stop` was set. Lines of JSON:
// the key, then [chosen, rejected] for each pair. Throws Error when it cannot be written, and when
// `must_fit` and the file is of something else: the error says what differs.
std::optional<std::vector<ReferencePair>> CachedReference(const std::string& path,
                                                          const OrderedJson& key, int64_t pairs,
                                                          int64_t together, bool must_fit,
                                                          const ReferenceComputation& compute,
                                                          const std::atomic<bool>* stop);

}  // namespace cadre
