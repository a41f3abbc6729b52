#include "base/error.h"
#include "model/config_files.h"

namespace cadre {
namespace {

// A number, or an array with the same number for each layer.
int64_t GetPerLayer(const GgufFile& file, const std::string& key, int64_t num_layers,
                    int64_t fallback) {
  if (!file.IsArray(key)) return file.GetInt(key, fallback);
  const auto per_layer = file.GetIntArray(key);
  if (per_layer.empty()) throw Error("{}: {} is an empty array", file.name(), key);
  if (static_cast<int64_t>(per_layer.size()) != num_layers) {
    throw Error("{}: {} has {} values for {} layers", file.name(), key, per_layer.size(),
                num_layers);
  }
  for (const int64_t heads : per_layer) {
    if (heads != per_layer[0]) {
      throw Error("{}: {} differs between layers ({} and {}), which Cadre does not run",
                  file.name(), key, per_layer[0], heads);
    }
  }
  return per_layer[0];
}

// -1, also in 32 bits without a sign, means none.
int32_t GetToken(const GgufFile& file, const char* key, int64_t fallback) {
  const int64_t id = file.GetInt(key, fallback);
  if (id == -1 || id == UINT32_MAX) return -1;
  if (id < 0 || id > INT32_MAX)
    throw Error("{}: {} is {} but must be a token id, or -1 for none", file.name(), key, id);
  return static_cast<int32_t>(id);
}

// Keys of a model begin with its architecture's name.
struct Keys {
  std::string architecture;
  std::string operator()(const char* key) const { return architecture + "." + key; }
};

void RefuseRopeScaling(const GgufFile& file, const Keys& key) {
  const std::string type = file.GetString(key("rope.scaling.type"), "none");
  if (type != "none") {
    throw Error("{}: {} is '{}' but must be 'none'", file.name(), key("rope.scaling.type"),
                Printable(type));
  }
  const double scale = file.GetFloat(key("rope.scale_linear"), 1.0);
  if (scale != 1.0)
    throw Error("{}: {} is {} but must be 1", file.name(), key("rope.scale_linear"), scale);
}

}  // namespace

ModelConfig ConfigFromGguf(const GgufFile& file, bool tie_embeddings) {
  const std::string architecture = file.GetString("general.architecture");
  const bool unnormalised = architecture == kUnnormalisedArchitecture;
  if (architecture != "llama" && !unnormalised) {
    throw Error(
        "{}: general.architecture is '{}' but must be 'llama' (Mixtral, Mistral and Llama all use "
        "it) or '{}'",
        file.name(), Printable(architecture), kUnnormalisedArchitecture);
  }
  const Keys key{architecture};
  ModelConfig config;
  config.dim = file.GetInt(key("embedding_length"));
  config.num_layers = file.GetInt(key("block_count"));
  const auto per_layer = [&](const char* name, int64_t fallback) {
    return GetPerLayer(file, key(name), config.num_layers, fallback);
  };
  config.hidden_dim = per_layer("feed_forward_length", 0);
  config.num_heads = per_layer("attention.head_count", 0);
  config.num_kv_heads = per_layer("attention.head_count_kv", config.num_heads);
  const int64_t quotient = config.num_heads > 0 ? config.dim / config.num_heads : 0;
  config.head_dim =
      file.GetInt(key("attention.key_length"), file.GetInt(key("rope.dimension_count"), quotient));
  if (file.GetInt(key("attention.value_length"), config.head_dim) != config.head_dim ||
      file.GetInt(key("rope.dimension_count"), config.head_dim) != config.head_dim) {
    throw Error("{}: key, value and rope dimensions of a head must all be {}", file.name(),
                config.head_dim);
  }
  config.context_length = file.GetInt(key("context_length"));
  config.rope_theta = file.GetFloat(key("rope.freq_base"), 10000.0);
  config.rms_norm_eps = static_cast<float>(file.GetFloat(key("attention.layer_norm_rms_epsilon")));
  config.sliding_window = file.GetInt(key("attention.sliding_window"), 0);
  config.rope_layout = RopeLayout::kInterleaved;
  config.tie_embeddings = tie_embeddings;
  RefuseRopeScaling(file, key);
  const int64_t experts = file.GetInt(key("expert_count"), 0);
  config.architecture = unnormalised                ? kUnnormalisedArchitecture
                        : experts > 0               ? "mixtral"
                        : config.sliding_window > 0 ? "mistral"
                                                    : "llama";
  if (experts > 0) {
    config.router.num_experts = experts;
    config.router.top_k = file.GetInt(key("expert_used_count"));
  }
  if (unnormalised) config.router.softmax = RouterSoftmax::kAll;
  if (file.GetBool(key("expert_weights_norm"), !unnormalised) == unnormalised) {
    throw Error("{}: {} is {} but gates of architecture '{}' are {} renormalised", file.name(),
                key("expert_weights_norm"), unnormalised, architecture,
                unnormalised ? "never" : "always");
  }
  config.vocab_size = file.GetInt(key("vocab_size"), 0);
  if (config.vocab_size == 0) {
    const GgufValue* tokens = file.Find("tokenizer.ggml.tokens");
    if (tokens == nullptr || !file.IsArray("tokenizer.ggml.tokens")) {
      throw Error("{}: has neither llama.vocab_size nor tokenizer.ggml.tokens", file.name());
    }
    config.vocab_size = static_cast<int64_t>(std::get<GgufArray>(tokens->value).count);
  }
  config.bos_id = GetToken(file, "tokenizer.ggml.bos_token_id", 1);
  const int32_t eos = GetToken(file, "tokenizer.ggml.eos_token_id", 2);
  config.eos_ids = eos >= 0 ? std::vector<int32_t>{eos} : std::vector<int32_t>{};
  config.Validate(file.name());
  return config;
}

ModelConfig ConfigOf(const Checkpoint& checkpoint) {
  switch (checkpoint.kind()) {
    case CheckpointKind::kHuggingFace:
      return ConfigFromJson(checkpoint.config(), checkpoint.config_file());
    case CheckpointKind::kMistral:
      return ConfigFromParams(checkpoint.config(), checkpoint.config_file());
    case CheckpointKind::kGguf:
      return ConfigFromGguf(*checkpoint.gguf(), !checkpoint.Find("output.weight").has_value());
  }
  CADRE_CHECK(false && "a kind outside the list");
  return {};
}

}  // namespace cadre
