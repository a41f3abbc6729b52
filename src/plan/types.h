// The same model in other types: how large it would be, how fast, how much is published to be lost,
// and which suits a machine best.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/predict.h"
#include "quantize/mix.h"

namespace cadre {

// Mean KL divergence to the 16-bit model, nats per token: Llama 3 8B on Wikitext-2, without an
// importance matrix (IQ4_NL, IQ4_XS: with one). Source: the table of llama.cpp's
// tools/perplexity/README.md. None: it is not in there.
std::optional<double> PublishedLoss(std::string_view mix);

// The model with the types that `cadre quantize --type MIX` would write; its weights are those of
// `model` and must not be read.
Model InMix(const Model& model, const Mix& mix);
// Bytes of all matrices, stored.
double StoredBytes(const Model& model);
// The types that any of the mixes would use, each with a matrix of it, an expert's if there is one.
std::map<DType, MatrixShape> TypesOfMixes(const Model& model);
// The mix whose types the model has; null: none.
const Mix* MixOf(const Model& model);

struct TypeOutlook {
  std::string name;
  double stored_bytes = 0;
  std::optional<double> loss;        // PublishedLoss
  bool is_this = false;              // what the file holds already
  std::optional<MemoryPlan> memory;  // none: it has no room here, not even with fetching
  Prediction prediction;             // where there is memory
};

// Of each mix, by published loss, those without one last. plan_and_predict throws Error for a model
// that has no room.
std::vector<TypeOutlook> CompareTypes(
    const Model& model,
    const std::function<std::pair<MemoryPlan, Prediction>(const Model&)>& plan_and_predict);

// The one that loses least of those that generate at least half as fast as the fastest; null: none
// has room.
const TypeOutlook* BestType(const std::vector<TypeOutlook>& types);

}  // namespace cadre
