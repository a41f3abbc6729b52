#include "model/load.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

int64_t GgufHeads(const GgufFile& file, const char* key, int64_t fallback) {
  if (!file.IsArray(key)) return file.GetInt(key, fallback);
  const auto per_layer = file.GetIntArray(key);
  if (per_layer.empty()) throw Error("{}: {} is an empty array", file.name(), key);
  for (const int64_t heads : per_layer) {
    if (heads != per_layer[0]) {
      throw Error("{}: {} differs between layers ({} and {}), which Cadre does not run",
                  file.name(), key, per_layer[0], heads);
    }
  }
  return per_layer[0];
}

void RefuseRopeScaling(const GgufFile& file) {
  const std::string type = file.GetString("llama.rope.scaling.type", "none");
  if (type != "none") {
    throw Error("{}: llama.rope.scaling.type is '{}' but must be 'none'", file.name(),
                Printable(type));
  }
  const double scale = file.GetFloat("llama.rope.scale_linear", 1.0);
  if (scale != 1.0)
    throw Error("{}: llama.rope.scale_linear is {} but must be 1", file.name(), scale);
}

ModelConfig ConfigFromGguf(const GgufFile& file, bool tied) {
  const std::string architecture = file.GetString("general.architecture");
  if (architecture != "llama") {
    throw Error(
        "{}: general.architecture is '{}' but must be 'llama' (Mixtral, Mistral and Llama all use "
        "it)",
        file.name(), Printable(architecture));
  }
  ModelConfig config;
  config.dim = file.GetInt("llama.embedding_length");
  config.hidden_dim = GgufHeads(file, "llama.feed_forward_length", 0);
  config.num_layers = file.GetInt("llama.block_count");
  config.num_heads = GgufHeads(file, "llama.attention.head_count", 0);
  config.num_kv_heads = GgufHeads(file, "llama.attention.head_count_kv", config.num_heads);
  const int64_t quotient = config.num_heads > 0 ? config.dim / config.num_heads : 0;
  config.head_dim = file.GetInt("llama.attention.key_length",
                                file.GetInt("llama.rope.dimension_count", quotient));
  if (file.GetInt("llama.attention.value_length", config.head_dim) != config.head_dim ||
      file.GetInt("llama.rope.dimension_count", config.head_dim) != config.head_dim) {
    throw Error("{}: key, value and rope dimensions of a head must all be {}", file.name(),
                config.head_dim);
  }
  config.context_length = file.GetInt("llama.context_length");
  config.rope_theta = file.GetFloat("llama.rope.freq_base", 10000.0);
  config.rms_norm_eps = static_cast<float>(file.GetFloat("llama.attention.layer_norm_rms_epsilon"));
  config.sliding_window = file.GetInt("llama.attention.sliding_window", 0);
  config.rope_layout = RopeLayout::kInterleaved;
  config.tie_embeddings = tied;
  RefuseRopeScaling(file);
  const int64_t experts = file.GetInt("llama.expert_count", 0);
  config.architecture = experts > 0 ? "mixtral" : "llama";
  if (experts > 0) {
    config.router.num_experts = experts;
    config.router.top_k = file.GetInt("llama.expert_used_count");
  }
  config.vocab_size = file.GetInt("llama.vocab_size", 0);
  if (config.vocab_size == 0) {
    const GgufValue* tokens = file.Find("tokenizer.ggml.tokens");
    if (tokens == nullptr || !file.IsArray("tokenizer.ggml.tokens")) {
      throw Error("{}: has neither llama.vocab_size nor tokenizer.ggml.tokens", file.name());
    }
    config.vocab_size = static_cast<int64_t>(std::get<GgufArray>(tokens->value).count);
  }
  config.bos_id = static_cast<int32_t>(
      std::clamp<int64_t>(file.GetInt("tokenizer.ggml.bos_token_id", 1), 0, INT32_MAX));
  const int64_t eos = file.GetInt("tokenizer.ggml.eos_token_id", 2);
  config.eos_ids = {static_cast<int32_t>(std::clamp<int64_t>(eos, 0, INT32_MAX))};
  config.Validate(file.name());
  return config;
}

// Finds, checks and converts the tensors of one checkpoint.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelConfig& config, std::vector<Buffer<float>>& norms)
      : checkpoint_(checkpoint),
        config_(config),
        norms_(norms),
        names_(checkpoint.kind() == CheckpointKind::kGguf ? TensorLayout::kGguf
                                                          : TensorLayout::kHuggingFace,
               config.router.dense()) {}

  ModelWeights Weights() {
    const auto& c = config_;
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
    const bool fused = checkpoint_.Find(names_.FusedGateUp(l)).has_value();
    if (!c.router.dense()) {
      w.router =
          Matrix(fused ? names_.FusedRouter(l) : names_.Router(l), {c.router.num_experts, c.dim});
    }
    w.experts = fused && !c.router.dense() ? FusedExperts(l) : Experts(l);
    return w;
  }

  std::vector<ExpertWeights> Experts(int64_t l) {
    const auto& c = config_;
    std::vector<ExpertWeights> experts(static_cast<size_t>(c.router.num_experts));
    const auto place = [&](int matrix, int64_t rows, int64_t cols, Weight ExpertWeights::*member) {
      if (checkpoint_.kind() == CheckpointKind::kGguf && !c.router.dense()) {
        const Weight merged =
            Matrix(names_.MergedExperts(l, matrix), {c.router.num_experts, rows, cols});
        for (int64_t e = 0; e < c.router.num_experts; ++e) {
          experts[static_cast<size_t>(e)].*member = merged.Rows(e * rows, (e + 1) * rows);
        }
        return;
      }
      for (int64_t e = 0; e < c.router.num_experts; ++e) {
        experts[static_cast<size_t>(e)].*member = Matrix(names_.Expert(l, e, matrix), {rows, cols});
      }
    };
    place(1, c.hidden_dim, c.dim, &ExpertWeights::w1);
    place(2, c.dim, c.hidden_dim, &ExpertWeights::w2);
    place(3, c.hidden_dim, c.dim, &ExpertWeights::w3);
    return experts;
  }

  std::vector<ExpertWeights> FusedExperts(int64_t l) {
    const auto& c = config_;
    const int64_t f = c.hidden_dim;
    const Weight gate_up = Matrix(names_.FusedGateUp(l), {c.router.num_experts, 2 * f, c.dim});
    const Weight down = Matrix(names_.FusedDown(l), {c.router.num_experts, c.dim, f});
    std::vector<ExpertWeights> experts;
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      experts.push_back({.w1 = gate_up.Rows(2 * f * e, 2 * f * e + f),
                         .w2 = down.Rows(c.dim * e, c.dim * (e + 1)),
                         .w3 = gate_up.Rows(2 * f * e + f, 2 * f * (e + 1))});
    }
    return experts;
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

ModelConfig ConfigOf(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) {
    return ConfigFromGguf(*checkpoint.gguf(), !checkpoint.Find("output.weight").has_value());
  }
  return ConfigFromJson(checkpoint.config(), checkpoint.folder() + "/config.json");
}

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

void LoadedModel::SetExpertsPerToken(int64_t k) {
  if (k < 1 || k > model_->config.router.num_experts) {
    throw Error("--experts is {} but must be from 1 to {}", k, model_->config.router.num_experts);
  }
  model_->config.router.top_k = k;
}

}  // namespace cadre
