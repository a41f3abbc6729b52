#include "model/load.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/config_files.h"
#include "model/pack.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

TensorLayout LayoutOf(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kHuggingFace:
      return TensorLayout::kHuggingFace;
    case CheckpointKind::kMistral:
      return TensorLayout::kMistral;
    case CheckpointKind::kGguf:
      return TensorLayout::kGguf;
  }
  CADRE_CHECK(false && "a kind outside the list");
  return TensorLayout::kHuggingFace;
}

// Finds, checks and converts the tensors of one checkpoint.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelConfig& config, std::vector<Buffer<float>>& norms)
      : checkpoint_(checkpoint),
        config_(config),
        norms_(norms),
        names_(LayoutOf(checkpoint.kind()), config.router.dense()) {}

  ModelWeights Weights() {
    const auto& c = config_;
    RefuseRopeFactors();
    ModelWeights weights;
    weights.embedding = Matrix(names_.Embedding(), {c.vocab_size, c.dim});
    for (int64_t l = 0; l < c.num_layers; ++l) weights.layers.push_back(Layer(l));
    weights.final_norm = Norm(names_.FinalNorm());
    weights.head =
        c.tie_embeddings ? weights.embedding : Matrix(names_.Head(), {c.vocab_size, c.dim});
    return weights;
  }

  // Tensors of the file that no part of the model asked for.
  std::vector<std::string> Unused() const {
    std::vector<std::string> unused;
    for (const auto& tensor : checkpoint_.Tensors()) {
      if (!used_.contains(tensor.name) && !TensorNames::IsIgnored(tensor.name))
        unused.push_back(tensor.name);
    }
    return unused;
  }

 private:
  LayerWeights Layer(int64_t l) {
    const auto& c = config_;
    LayerWeights w;
    w.attn_norm = Norm(names_.AttnNorm(l));
    w.wq = Matrix(names_.Attention(l, 'q'), {c.q_dim(), c.dim});
    w.wk = Matrix(names_.Attention(l, 'k'), {c.kv_dim(), c.dim});
    w.wv = Matrix(names_.Attention(l, 'v'), {c.kv_dim(), c.dim});
    w.wo = Matrix(names_.Attention(l, 'o'), {c.dim, c.q_dim()});
    w.ffn_norm = Norm(names_.FfnNorm(l));
    if (c.router.dense()) {
      w.experts = SeparateExperts(l);
      return w;
    }
    const bool fused = Has(names_.FusedGateUp(l));
    w.router =
        Matrix(fused ? names_.FusedRouter(l) : names_.Router(l), {c.router.num_experts, c.dim});
    const bool merged = checkpoint_.kind() == CheckpointKind::kGguf && !Has(names_.Expert(l, 0, 1));
    w.experts = fused ? FusedExperts(l) : merged ? MergedExperts(l) : SeparateExperts(l);
    return w;
  }

  bool Has(const std::string& name) const { return checkpoint_.Find(name).has_value(); }

  std::vector<ExpertWeights> SeparateExperts(int64_t l) {
    const auto& c = config_;
    std::vector<ExpertWeights> experts;
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      experts.push_back({.w1 = Matrix(names_.Expert(l, e, 1), {c.hidden_dim, c.dim}),
                         .w2 = Matrix(names_.Expert(l, e, 2), {c.dim, c.hidden_dim}),
                         .w3 = Matrix(names_.Expert(l, e, 3), {c.hidden_dim, c.dim})});
    }
    return experts;
  }

  std::vector<ExpertWeights> MergedExperts(int64_t l) {
    const auto& c = config_;
    const int64_t f = c.hidden_dim, d = c.dim;
    const Weight gate = Matrix(names_.MergedExperts(l, 1), {c.router.num_experts, f, d});
    const Weight down = Matrix(names_.MergedExperts(l, 2), {c.router.num_experts, d, f});
    const Weight up = Matrix(names_.MergedExperts(l, 3), {c.router.num_experts, f, d});
    std::vector<ExpertWeights> experts;
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      experts.push_back({.w1 = gate.Rows(e * f, (e + 1) * f),
                         .w2 = down.Rows(e * d, (e + 1) * d),
                         .w3 = up.Rows(e * f, (e + 1) * f)});
    }
    return experts;
  }

  // Gate and up in one tensor.
  std::vector<ExpertWeights> FusedExperts(int64_t l) {
    const auto& c = config_;
    const int64_t f = c.hidden_dim, d = c.dim;
    const Weight gate_up = Matrix(names_.FusedGateUp(l), {c.router.num_experts, 2 * f, d});
    const Weight down = Matrix(names_.FusedDown(l), {c.router.num_experts, d, f});
    std::vector<ExpertWeights> experts;
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      experts.push_back({.w1 = gate_up.Rows(2 * f * e, 2 * f * e + f),
                         .w2 = down.Rows(d * e, d * (e + 1)),
                         .w3 = gate_up.Rows(2 * f * e + f, 2 * f * (e + 1))});
    }
    return experts;
  }

  // llama.cpp's converter stores Llama 3.1's scaling of the rotary frequencies as a tensor. All
  // ones are none.
  void RefuseRopeFactors() {
    const char* const name = "rope_freqs.weight";
    const auto tensor = checkpoint_.Find(name);
    if (!tensor) return;
    const Weight weight = tensor->AsWeight();
    std::vector<float> factors(static_cast<size_t>(weight.cols));
    for (int64_t r = 0; r < weight.rows; ++r) {
      DecodeRow(weight.type, weight.row(r), factors);
      for (const float factor : factors) {
        if (factor != 1) {
          throw Error(
              "{}: tensor {} scales the rotary frequencies (by {}), which Cadre does not run",
              tensor->file, name, factor);
        }
      }
    }
    used_.insert(name);
  }

  TensorView Require(const std::string& name, const std::vector<int64_t>& shape) {
    const auto tensor = checkpoint_.Find(name);
    if (!tensor) throw Error("{}: tensor {} is missing", checkpoint_.path(), name);
    if (tensor->shape != shape) {
      throw Error("{}: tensor {} is [{}] but the config wants [{}]", tensor->file, name,
                  fmt::join(tensor->shape, ", "), fmt::join(shape, ", "));
    }
    used_.insert(name);
    return *tensor;
  }

  Weight Matrix(const std::string& name, const std::vector<int64_t>& shape) {
    return Require(name, shape).AsWeight();
  }

  std::span<const float> Norm(const std::string& name) {
    const Weight weight = Require(name, {config_.dim}).AsWeight();
    norms_.emplace_back(config_.dim);
    DecodeRow(weight.type, weight.data, norms_.back().span());
    return norms_.back().span();
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  std::vector<Buffer<float>>& norms_;
  TensorNames names_;
  std::unordered_set<std::string> used_;
};

std::string UnusedWarning(const std::vector<std::string>& unused) {
  constexpr size_t kShown = 4;
  std::string text =
      fmt::format("{} tensor{} of the file belong{} to no part of this model:", unused.size(),
                  unused.size() == 1 ? "" : "s", unused.size() == 1 ? "s" : "");
  for (size_t i = 0; i < std::min(kShown, unused.size()); ++i) text += " " + Printable(unused[i]);
  if (unused.size() > kShown) text += " ...";
  return text;
}

}  // namespace

LoadedModel LoadedModel::Load(const std::string& path) {
  LoadedModel loaded;
  loaded.checkpoint_ = std::make_unique<Checkpoint>(Checkpoint::Open(path));
  loaded.model_ = std::make_unique<Model>();
  Model& model = *loaded.model_;
  model.config = ConfigOf(*loaded.checkpoint_);
  Loader loader(*loaded.checkpoint_, model.config, loaded.norms_);
  model.weights = loader.Weights();
  model.rope_frequencies = RopeFrequencies(model.config);
  loaded.warnings_ = SuspiciousSettings(model.config);
  const auto unused = loader.Unused();
  if (!unused.empty()) loaded.warnings_.push_back(UnusedWarning(unused));
  return loaded;
}

bool LoadedModel::Pack(Device& device) {
  const auto release = [](const Weight& w) {
    ReleasePages({w.data, static_cast<size_t>(w.bytes())});
  };
  auto memory = PackMatrices(*model_, device, {.after = release});
  if (!memory) return false;
  packed_ = std::move(*memory);
  return true;
}

void LoadedModel::AddAdapters(const std::string& folder) {
  CADRE_CHECK(!adapters_);
  adapters_ = LoadAdapters(folder, *model_);
  *model_ = adapters_->Bind();
}

void LoadedModel::SetExpertsPerToken(int64_t k) {
  if (k < 1 || k > model_->config.router.num_experts) {
    throw Error("--experts is {} but must be from 1 to {}", k, model_->config.router.num_experts);
  }
  model_->config.router.top_k = k;
}

}  // namespace cadre
