// The outcome as one HTML page that needs nothing else: a picture for each system of who takes
// which cases, the learning curves, and a table.
#pragma once

#include <string>
#include <vector>

#include "systems.h"
#include "vowels.h"

namespace mixtures {

struct Spread {
  double mean = 0;
  double deviation = 0;  // of the runs
};

Spread SpreadOf(const std::vector<double>& values);

// What became of a system in all runs; the picture is of the run whose test accuracy is the median.
struct Outcome {
  std::shared_ptr<System> pictured;
  Spread test;    // share of the test cases that are right
  Spread alone;   // the same when each case's best expert answers alone, as in a sparse model
  Spread in_use;  // experts that take at least one training case in twenty
  Spread passes;  // over the training cases until 90% of them are right; all passes where never
  int never = 0;  // runs that did not get there
  std::vector<double> wrong;  // [passes + 1] share of the training cases, mean of the runs
};

std::string Table(const std::vector<Outcome>& outcomes, int runs);  // Markdown
std::string Page(const std::vector<Outcome>& outcomes, int runs, const Cases& cases);

}  // namespace mixtures
