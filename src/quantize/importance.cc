#include "quantize/importance.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "base/error.h"

namespace cadre {
namespace {

// Of the mean: what a column weighs at least. Inputs that were 0 in one text need not be in
// another.
constexpr double kFloor = 1e-3;

// The sums of one matrix of the entry.
struct Sums {
  std::span<const float> sums;
  double inputs;
};

Sums SumsOf(const ImportanceEntry& entry, const NamedMatrix& matrix, int64_t num_experts,
            const std::string& file) {
  const int64_t num_matrices = matrix.expert < 0 ? 1 : num_experts;
  const auto wanted = static_cast<size_t>(num_matrices * matrix.weight->cols);
  if (entry.sums.size() != wanted ||
      (entry.counts.size() != 1 && std::ssize(entry.counts) != num_matrices)) {
    throw Error("{}: '{}' has {} sums and {} counts but the model wants {} and {}", file,
                matrix.name, entry.sums.size(), entry.counts.size(), wanted, num_matrices);
  }
  const auto index = static_cast<size_t>(std::max<int64_t>(matrix.expert, 0));
  const auto cols = static_cast<size_t>(matrix.weight->cols);
  return {std::span(entry.sums).subspan(index * cols, cols),
          entry.counts[entry.counts.size() == 1 ? 0 : index]};
}

// "layer 3 expert 5, layer 7 expert 0 and 4 more".
std::string List(const std::vector<std::string>& names) {
  constexpr size_t kShown = 6;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

// The expected divergence if nothing of any tensor were left, where nothing was measured.
constexpr double kCostOfAll = 2;

}  // namespace

Importance::Importance(const Model& model, const ImportanceMatrix& matrix,
                       const std::string& file) {
  const auto matrices = MatricesOf(model);
  const auto sensitivity_of = [&](const std::string& name) {
    const auto found = matrix.sensitivity.find(name);
    return found == matrix.sensitivity.end() ? 0.0 : static_cast<double>(found->second);
  };
  std::unordered_set<std::string> names;
  for (const NamedMatrix& named : matrices) {
    names.insert(named.name);
    if (named.expert >= 0) continue;  // an expert sees few of the tokens
    const auto found = matrix.entries.find(named.name);
    if (found != matrix.entries.end())
      tokens_ =
          std::max(tokens_, static_cast<double>(SumsOf(found->second, named, 1, file).inputs));
  }
  num_tensors_ = names.size() + 1;
  std::vector<std::string> never_hit, missing;
  std::vector<const NamedMatrix*> strangers;
  for (const NamedMatrix& named : matrices) {
    const auto found = matrix.entries.find(named.name);
    if (found == matrix.entries.end()) {
      // llama.cpp leaves the head out unless asked; the router is never quantised.
      const bool usual = named.role == TensorRole::kHead || named.role == TensorRole::kRouter;
      if (!usual && named.expert <= 0) missing.push_back(named.name);
      continue;
    }
    const Sums of = SumsOf(found->second, named, model.config.router.num_experts, file);
    const double energy = std::accumulate(of.sums.begin(), of.sums.end(), 0.0);
    if (!(energy > 0) || !(of.inputs > 0)) {
      if (named.expert < 0) missing.push_back(named.name);
      if (named.role == TensorRole::kGate)
        never_hit.push_back(fmt::format("layer {} expert {}", named.layer, named.expert));
      if (named.expert >= 0) strangers.push_back(&named);
      continue;
    }
    const double mean = energy / static_cast<double>(of.sums.size());
    const double tokens = std::max(tokens_, of.inputs);
    Known known = {std::vector<float>(of.sums.size()), mean / tokens, of.inputs / tokens,
                   sensitivity_of(named.name)};
    for (size_t i = 0; i < of.sums.size(); ++i)
      known.importance[i] = static_cast<float>(std::max(of.sums[i] / mean, kFloor));
    known_.emplace(named.weight->data, std::move(known));
  }
  if (known_.empty()) throw Error("{}: has nothing for any matrix of this model", file);
  for (const NamedMatrix* named : strangers) AddNeverHit(matrices, *named);
  const Weight& embedding = model.weights.embedding;
  known_.emplace(
      embedding.data,
      Known{.energy = 1 / static_cast<double>(embedding.rows),
            .sensitivity = sensitivity_of(TensorNames(TensorLayout::kGguf, true).Embedding())});
  if (!missing.empty()) {
    warnings_.push_back(
        fmt::format("{} has nothing for {}: quantised without it", file, List(missing)));
  }
  if (!never_hit.empty()) {
    warnings_.push_back(
        fmt::format("{}: its text never hit {} of the experts ({}): quantised without it", file,
                    never_hit.size(), List(never_hit)));
  }
}

// As the experts of its layer that were hit, of which it gets one token.
void Importance::AddNeverHit(std::span<const NamedMatrix> matrices, const NamedMatrix& named) {
  double energy = 0, shares = 0, sensitivity = 0;
  for (const NamedMatrix& other : matrices) {
    const Known* known = other.name == named.name ? Find(*other.weight) : nullptr;
    if (known == nullptr || known->importance.empty()) continue;
    energy += known->energy;
    shares += known->share;
    sensitivity = known->sensitivity;
  }
  const double one = 1 / std::max(tokens_, 1.0);
  known_.emplace(named.weight->data, Known{.energy = shares > 0 ? energy / shares * one : 0,
                                           .share = one,
                                           .sensitivity = sensitivity});
}

const Importance::Known* Importance::Find(const Weight& w) const {
  const auto found = known_.find(w.data);
  return found == known_.end() ? nullptr : &found->second;
}

std::span<const float> Importance::Of(const Weight& w) const {
  const Known* known = Find(w);
  return known == nullptr ? std::span<const float>() : known->importance;
}

double Importance::EnergyPerToken(const Weight& w) const {
  const Known* known = Find(w);
  return known == nullptr ? 0 : known->energy;
}

double Importance::CostOfLosing(const Weight& w, double squares) const {
  const Known* known = Find(w);
  if (known != nullptr && known->sensitivity > 0 && known->energy > 0)
    return known->sensitivity * known->energy * squares;
  const double share = known == nullptr ? 1 : known->share;
  return kCostOfAll / static_cast<double>(num_tensors_) * share;
}

}  // namespace cadre
