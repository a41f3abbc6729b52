#include "model/config.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

constexpr int64_t kMaxDim = int64_t{1} << 20;

void ExpectRange(const std::string& name, const char* field, int64_t value, int64_t min,
                 int64_t max) {
  if (value < min || value > max) {
    throw Error("{}: {} is {} but must be from {} to {}", name, field, value, min, max);
  }
}

double RopeTheta(const Json& json, double fallback, const std::string& name) {
  double theta = JsonNumber(json, "rope_theta", fallback, name);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) continue;
    if (!found->is_object()) throw Error("{}: {} must be an object", name, key);
    const std::string type =
        JsonString(*found, "rope_type", JsonString(*found, "type", "default", name), name);
    if (type != "default") {
      throw Error("{}: {} has type '{}', which Cadre does not run: expected 'default'", name, key,
                  Printable(type));
    }
    theta = JsonNumber(*found, "rope_theta", theta, name);
  }
  return theta;
}

std::vector<int32_t> EosIds(const Json& json, const std::string& name) {
  const auto found = json.find("eos_token_id");
  if (found == json.end() || found->is_null()) return {2};
  std::vector<int32_t> ids;
  const auto add = [&](const Json& value) {
    if (!value.is_number_integer() || value < 0 || value > INT32_MAX) {
      throw Error("{}: eos_token_id must be a token id or a list of them", name);
    }
    ids.push_back(value.get<int32_t>());
  };
  if (found->is_array()) {
    for (const auto& value : *found) add(value);
  } else {
    add(*found);
  }
  return ids;
}

struct KnownModel {
  const char* name;
  int64_t num_experts, dim, num_layers;
  std::vector<int64_t> vocab_sizes;
  double theta;
  int64_t min_context;
};

}  // namespace

ModelConfig ConfigFromJson(const Json& json, const std::string& name) {
  if (!json.is_object()) throw Error("{}: must hold a JSON object", name);
  ModelConfig config;
  config.architecture = JsonString(json, "model_type", "", name);
  const bool mixtral = config.architecture == "mixtral";
  const bool mistral = config.architecture == "mistral";
  if (!mixtral && !mistral && config.architecture != "llama") {
    throw Error("{}: model_type is '{}' but must be mixtral, mistral or llama", name,
                Printable(config.architecture));
  }
  const std::string activation = JsonString(json, "hidden_act", "silu", name);
  if (activation != "silu") {
    throw Error("{}: hidden_act is '{}' but must be silu", name, Printable(activation));
  }
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (JsonBool(json, bias, false, name))
      throw Error("{}: {} is true, but Cadre runs models without biases", name, bias);
  }
  const auto count = [&](const char* key, int64_t fallback) {
    return JsonInt(json, key, fallback, 0, INT64_C(1) << 40, name);
  };
  config.dim = count("hidden_size", 4096);
  config.hidden_dim = count("intermediate_size", config.architecture == "llama" ? 11008 : 14336);
  config.num_layers = count("num_hidden_layers", 32);
  config.num_heads = count("num_attention_heads", 32);
  const int64_t kv_heads = config.architecture == "llama" ? config.num_heads : 8;
  const auto kv_found = json.find("num_key_value_heads");
  const bool kv_null = kv_found != json.end() && kv_found->is_null();
  config.num_kv_heads = kv_null ? config.num_heads : count("num_key_value_heads", kv_heads);
  config.head_dim = count("head_dim", config.num_heads > 0 ? config.dim / config.num_heads : 0);
  config.vocab_size = count("vocab_size", 32000);
  config.context_length =
      count("max_position_embeddings", config.architecture == "llama" ? 2048 : 131072);
  config.rms_norm_eps =
      static_cast<float>(JsonNumber(json, "rms_norm_eps", mixtral ? 1e-5 : 1e-6, name));
  config.tie_embeddings = JsonBool(json, "tie_word_embeddings", false, name);
  config.rope_theta = RopeTheta(json, mixtral ? 1e6 : 1e4, name);
  // A Mistral config without the key means the class default; "null" means none.
  const int64_t default_window = mistral && !json.contains("sliding_window") ? 4096 : 0;
  config.sliding_window = std::max<int64_t>(
      0, JsonInt(json, "sliding_window", default_window, -1, INT64_C(1) << 40, name));
  if (mixtral) {
    config.router.num_experts = count("num_local_experts", count("num_experts", 8));
    config.router.top_k = count("num_experts_per_tok", 2);
    config.router_aux_loss_coef = JsonNumber(json, "router_aux_loss_coef", 0.001, name);
  }
  config.bos_id = static_cast<int32_t>(JsonInt(json, "bos_token_id", 1, 0, INT32_MAX, name));
  config.eos_ids = EosIds(json, name);
  config.Validate(name);
  return config;
}

OrderedJson ConfigToJson(const ModelConfig& config) {
  const bool mixtral = config.architecture == "mixtral";
  OrderedJson json;
  json["architectures"] = {mixtral                            ? "MixtralForCausalLM"
                           : config.architecture == "mistral" ? "MistralForCausalLM"
                                                              : "LlamaForCausalLM"};
  json["model_type"] = config.architecture;
  json["hidden_size"] = config.dim;
  json["intermediate_size"] = config.hidden_dim;
  json["num_hidden_layers"] = config.num_layers;
  json["num_attention_heads"] = config.num_heads;
  json["num_key_value_heads"] = config.num_kv_heads;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = "silu";
  json["vocab_size"] = config.vocab_size;
  json["max_position_embeddings"] = config.context_length;
  json["rms_norm_eps"] = static_cast<double>(config.rms_norm_eps);
  json["rope_theta"] = config.rope_theta;
  json["sliding_window"] =
      config.sliding_window > 0 ? OrderedJson(config.sliding_window) : OrderedJson(nullptr);
  json["tie_word_embeddings"] = config.tie_embeddings;
  json["attention_bias"] = false;
  if (mixtral) {
    json["num_local_experts"] = config.router.num_experts;
    json["num_experts_per_tok"] = config.router.top_k;
    json["router_aux_loss_coef"] = config.router_aux_loss_coef;
    json["output_router_logits"] = false;
  }
  json["bos_token_id"] = config.bos_id;
  if (config.eos_ids.size() == 1) {
    json["eos_token_id"] = config.eos_ids[0];
  } else {
    json["eos_token_id"] = config.eos_ids;
  }
  json["torch_dtype"] = "float32";
  return json;
}

void ModelConfig::Validate(const std::string& name) const {
  ExpectRange(name, "hidden size", dim, 1, kMaxDim);
  ExpectRange(name, "expert hidden size", hidden_dim, 1, kMaxDim);
  ExpectRange(name, "number of layers", num_layers, 1, 1024);
  ExpectRange(name, "number of heads", num_heads, 1, 4096);
  ExpectRange(name, "number of key/value heads", num_kv_heads, 1, num_heads);
  ExpectRange(name, "head dimension", head_dim, 2, 4096);
  ExpectRange(name, "vocabulary size", vocab_size, 1, int64_t{1} << 24);
  ExpectRange(name, "context length", context_length, 1, int64_t{1} << 32);
  ExpectRange(name, "sliding window", sliding_window, 0, int64_t{1} << 40);
  ExpectRange(name, "number of experts", router.num_experts, 1, 4096);
  ExpectRange(name, "experts per token", router.top_k, 1, router.num_experts);
  if (num_heads % num_kv_heads != 0) {
    throw Error("{}: {} heads are not a multiple of {} key/value heads", name, num_heads,
                num_kv_heads);
  }
  if (head_dim % 2 != 0) throw Error("{}: head dimension is {} but must be even", name, head_dim);
  if (!(rope_theta > 0) || !std::isfinite(rope_theta)) {
    throw Error("{}: rope_theta is {} but must be positive", name, rope_theta);
  }
  if (!(rms_norm_eps >= 0) || !std::isfinite(rms_norm_eps)) {
    throw Error("{}: rms_norm_eps is {} but must not be negative", name, rms_norm_eps);
  }
  for (const int32_t id : eos_ids) {
    if (id >= vocab_size)
      throw Error("{}: eos token {} is outside the vocabulary of {}", name, id, vocab_size);
  }
}

namespace {

int64_t Parameters(const ModelConfig& c, int64_t experts) {
  const int64_t attention = 2 * c.dim * c.q_dim() + 2 * c.dim * c.kv_dim();
  const int64_t router = c.router.dense() ? 0 : c.dim * c.router.num_experts;
  const int64_t layer = attention + router + experts * 3 * c.dim * c.hidden_dim + 2 * c.dim;
  return c.num_layers * layer + c.dim + (c.tie_embeddings ? 1 : 2) * c.vocab_size * c.dim;
}

}  // namespace

int64_t ModelConfig::TotalParameters() const { return Parameters(*this, router.num_experts); }
int64_t ModelConfig::ActiveParameters() const { return Parameters(*this, router.top_k); }

std::vector<std::string> SuspiciousSettings(const ModelConfig& config) {
  const std::vector<KnownModel> known = {
      {"Mixtral 8x7B", 8, 4096, 32, {32000}, 1e6, 32768},
      {"Mixtral 8x22B", 8, 6144, 56, {32000, 32768}, 1e6, 65536},
  };
  std::vector<std::string> warnings;
  for (const auto& model : known) {
    const bool same = config.router.num_experts == model.num_experts && config.dim == model.dim &&
                      config.num_layers == model.num_layers;
    if (!same) continue;
    if (config.rope_theta != model.theta) {
      warnings.push_back(
          fmt::format("rope theta is {} but {} was published with {}: answers will be wrong",
                      config.rope_theta, model.name, model.theta));
    }
    if (config.sliding_window != 0) {
      warnings.push_back(fmt::format("sliding window is {} but {} attends to everything",
                                     config.sliding_window, model.name));
    }
    if (std::find(model.vocab_sizes.begin(), model.vocab_sizes.end(), config.vocab_size) ==
        model.vocab_sizes.end()) {
      warnings.push_back(fmt::format("vocabulary is {} but {} was published with {}",
                                     config.vocab_size, model.name,
                                     fmt::join(model.vocab_sizes, " or ")));
    }
    if (config.context_length < model.min_context) {
      warnings.push_back(fmt::format("context is {} but {} was published with {}",
                                     config.context_length, model.name, model.min_context));
    }
  }
  if (config.architecture == "mistral" && config.dim == 4096 && config.num_layers == 32) {
    const bool v1 = config.rope_theta == 1e4 && config.sliding_window == 4096;
    const bool later = config.rope_theta == 1e6 && config.sliding_window == 0;
    if (!v1 && !later) {
      warnings.push_back(
          fmt::format("rope theta {} with window {}: Mistral 7B was published with 10000 and 4096 "
                      "(v0.1) or 1000000 and none",
                      config.rope_theta, config.sliding_window));
    }
  }
  return warnings;
}

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<size_t>(config.head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(config.rope_theta,
                              -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
  }
  return frequencies;
}

}  // namespace cadre
