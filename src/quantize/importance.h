// An importance matrix bound to the weights of a model.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/imatrix.h"
#include "model/weights.h"
#include "quantize/matrices.h"

namespace cadre {

class Importance {
 public:
  // Nothing is known of any weight.
  Importance() = default;
  // Throws Error, naming `file`, when the matrix is of another model: other widths, other numbers
  // of experts, nothing in common. The model must outlive this.
  Importance(const Model& model, const ImportanceMatrix& matrix, const std::string& file);

  // [cols] the mean squares of its inputs, scaled so that their mean is 1, and none 0: for
  // EncodeRow. Empty where nothing is known: an expert never hit, the embedding, another weight.
  std::span<const float> Of(const Weight& w) const;
  // What Of is to be multiplied with for the sum of squared inputs of one token of the text: of an
  // expert, those of the tokens it was given, spread over all. For the embedding: the mean use of a
  // row. 0: nothing is known.
  double EnergyPerToken(const Weight& w) const;
  // The expected divergence (nats per token) if nothing of w were left, when the sum of its squared
  // values, each times its Of, is `squares`: by its measured sensitivity, else as if all tensors
  // mattered alike. An expert that was never hit counts as if one token had been given to it.
  double CostOfLosing(const Weight& w, double squares) const;

  bool empty() const { return known_.empty(); }
  // A sentence each, for the user: what the file knows nothing of.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Known {
    std::vector<float> importance = {};
    double energy = 0;       // per token
    double share = 1;        // of tokens that are given to it
    double sensitivity = 0;  // nats per unit of squared error per token; 0: not measured
  };
  const Known* Find(const Weight& w) const;
  void AddNeverHit(std::span<const NamedMatrix> matrices, const NamedMatrix& named);
  std::unordered_map<const std::byte*, Known> known_;  // by Weight::data
  double tokens_ = 0;                                  // of the text
  size_t num_tensors_ = 0;
  std::vector<std::string> warnings_;
};

}  // namespace cadre
