// Adaptive mixtures of local experts (1991) with Cadre's router:
// adaptive_mixtures [--out FILE.html] [--runs 25] [--passes 1000] [--experts 2] [--seed 1]
// Prints a table and, with --out, writes a page with pictures of who takes which cases.
#include <base/atomic_file.h>
#include <base/error.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iostream>
#include <map>
#include <numeric>

#include "page.h"

namespace mixtures {
namespace {

struct Options {
  std::string out;
  int runs = 25, passes = 1000, experts = 2, seed = 1;
};

Options Parse(int argc, char** argv) {
  Options options;
  const std::map<std::string, std::pair<int*, int>> numbers = {
      {"--runs", {&options.runs, 1000}},
      {"--passes", {&options.passes, 100000}},
      {"--experts", {&options.experts, 8}},
      {"--seed", {&options.seed, 1 << 30}}};
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    const auto number = numbers.find(name);
    if (name == "--out" && !value.empty()) {
      options.out = value;
    } else if (number != numbers.end()) {
      const auto [field, most] = number->second;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *field);
      if (error != std::errc() || end != value.data() + value.size() || *field < 1 || *field > most)
        throw cadre::Error("{} is '{}' but must be from 1 to {}", name, value, most);
    } else {
      throw cadre::Error("'{}' is not one of --out FILE, --runs, --passes, --experts, --seed N",
                         name);
    }
  }
  return options;
}

// Experts that take at least one case in twenty.
double InUse(const System& system, const Answers& answers) {
  const auto experts = static_cast<size_t>(system.num_experts());
  std::vector<double> taken(experts, 0);
  const size_t count = answers.output.size();
  for (size_t t = 0; t < count; ++t) {
    const auto begin = answers.gates.begin() + static_cast<ptrdiff_t>(t * experts);
    ++taken[static_cast<size_t>(std::max_element(begin, begin + static_cast<ptrdiff_t>(experts)) -
                                begin)];
  }
  return static_cast<double>(std::count_if(taken.begin(), taken.end(), [&](double n) {
    return n >= 0.05 * static_cast<double>(count);
  }));
}

Outcome Learn(const std::function<std::unique_ptr<System>(uint64_t seed)>& make,
              const Options& options, const Cases& train, const Cases& test) {
  Outcome outcome;
  outcome.wrong.assign(static_cast<size_t>(options.passes) + 1, 0);
  std::vector<double> tests, alone, in_use, passes;
  std::vector<std::shared_ptr<System>> systems;
  for (int run = 0; run < options.runs; ++run) {
    const std::shared_ptr<System> system = make(static_cast<uint64_t>(options.seed + run));
    int reached = -1;
    for (int pass = 0; pass <= options.passes; ++pass) {
      const double right = Accuracy(train, system->Ask(train));
      outcome.wrong[static_cast<size_t>(pass)] += (1 - right) / options.runs;
      if (right >= 0.9 && reached < 0) reached = pass;
      if (pass < options.passes) system->Learn(train);
    }
    outcome.never += reached < 0;
    passes.push_back(reached < 0 ? options.passes : reached);
    tests.push_back(Accuracy(test, system->Ask(test)));
    if (system->num_experts() > 0) {
      alone.push_back(Accuracy(test, system->Ask(test, 1)));
      in_use.push_back(InUse(*system, system->Ask(train)));
    }
    systems.push_back(system);
  }
  outcome.test = SpreadOf(tests);
  outcome.passes = SpreadOf(passes);
  outcome.alone = SpreadOf(alone);
  outcome.in_use = SpreadOf(in_use);
  std::vector<size_t> order(systems.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::pair(tests[a], a) < std::pair(tests[b], b); });
  outcome.pictured = systems[order[order.size() / 2]];
  return outcome;
}

void Run(const Options& options) {
  const auto seed = static_cast<uint64_t>(options.seed);
  const Cases train = Speak(50, 2 * seed), test = Speak(25, 2 * seed + 1);
  std::vector<Outcome> outcomes;
  int64_t weights = 0;
  for (const auto error :
       {ErrorFunction::kCooperative, ErrorFunction::kCompetitive, ErrorFunction::kLikelihood}) {
    outcomes.push_back(Learn([&](uint64_t s) { return MakeMixture(error, options.experts, s); },
                             options, train, test));
    weights = outcomes.back().pictured->num_weights();
  }
  // 4 h + 1 weights, as near to the mixture's as can be.
  const int hidden = std::max(1, static_cast<int>((weights + 1) / 4));
  outcomes.push_back(
      Learn([&](uint64_t s) { return MakeNetwork(hidden, s); }, options, train, test));
  std::cout << Table(outcomes, options.runs);
  if (!options.out.empty())
    cadre::WriteFileAtomically(options.out, Page(outcomes, options.runs, train));
}

}  // namespace
}  // namespace mixtures

int main(int argc, char** argv) {
  try {
    mixtures::Run(mixtures::Parse(argc, argv));
  } catch (const cadre::Error& error) {
    std::cerr << "adaptive_mixtures: " << error.what() << "\n";
    return 1;
  }
}
