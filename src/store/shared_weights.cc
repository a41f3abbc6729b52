#include "store/shared_weights.h"

#include <vector>

#include "base/error.h"

namespace cadre {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kReadAhead = 4096;  // kernels fetch a little ahead of what they read

struct SharedMatrix {
  Weight* weight;
  KeptForm form;
};

// The rows of the embedding are looked up and routers are exact: both stay as they are stored.
std::vector<SharedMatrix> MatricesOf(ModelWeights& weights, bool tied, KeptForm form) {
  std::vector<SharedMatrix> matrices = {{&weights.embedding, KeptForm::kStored}};
  for (auto& layer : weights.layers) {
    for (Weight* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) matrices.push_back({w, form});
    if (layer.router.data != nullptr) matrices.push_back({&layer.router, KeptForm::kStored});
  }
  // A tied head that is not packed is the embedding itself.
  if (!tied || form == KeptForm::kPacked) matrices.push_back({&weights.head, form});
  return matrices;
}

int64_t PaddedBytes(const SharedMatrix& matrix, const Device& device) {
  return (KeptBytes(*matrix.weight, matrix.form, device) + kAlignment - 1) / kAlignment *
         kAlignment;
}

}  // namespace

int64_t SharedWeights::Bytes(const Model& model, KeptForm form, const Device& device) {
  ModelWeights weights = model.weights;
  int64_t bytes = kReadAhead;
  for (const auto& matrix : MatricesOf(weights, model.config.tie_embeddings, form))
    bytes += PaddedBytes(matrix, device);
  return bytes;
}

SharedWeights::SharedWeights(Model& model, const WeightFiles& files, const Device& device,
                             KeptForm form, Loader& loader)
    : memory_(static_cast<size_t>(Bytes(model, form, device))) {
  std::byte* to = memory_.data();
  for (const auto& matrix : MatricesOf(model.weights, model.config.tie_embeddings, form)) {
    Weight& w = *matrix.weight;
    const auto place = files.Find(w.data);
    CADRE_CHECK(place.has_value());
    Load load;
    load.num_matrices = 1;
    load.matrices[0] = {
        .shape = w, .from = *place, .packs = IsKeptPacked(w, matrix.form, device), .to = to};
    loader.Start(load, Urgency::kNeeded);
    loader.Wait(load);
    PointTo(to, load.matrices[0].packs, w);
    to += PaddedBytes(matrix, device);
  }
  if (model.config.tie_embeddings && form == KeptForm::kStored) {
    model.weights.head.data = model.weights.embedding.data;
  }
}

}  // namespace cadre
