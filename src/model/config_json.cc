#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "model/config_files.h"

namespace cadre {
namespace {

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

// One window for all layers, from an integer, or from a list of one per layer in which all are
// alike.
int64_t MistralWindow(const Json& params, const std::string& name) {
  const Json* found = nullptr;
  for (const char* key : {"sliding_window", "_sliding_window"}) {
    const auto at = params.find(key);
    if (at == params.end() || at->is_null()) continue;
    if (found != nullptr) throw Error("{}: has both sliding_window and _sliding_window", name);
    found = &*at;
  }
  if (found == nullptr) return 0;
  const auto window = [&](const Json& value) -> int64_t {
    if (value.is_null()) return 0;
    if (!value.is_number_integer() || value < 0 || value > (INT64_C(1) << 40))
      throw Error("{}: sliding_window must be a number of tokens, a list of them, or null", name);
    return value.get<int64_t>();
  };
  if (!found->is_array()) return window(*found);
  int64_t common = found->empty() ? 0 : window(found->front());
  for (const Json& value : *found) {
    if (window(value) != common)
      throw Error("{}: sliding_window differs between layers, which Cadre does not run", name);
  }
  return common;
}

// What a file says of the gates must be what its architecture does with them: transformers ignores
// the key where it means nothing, and another model would come out.
void CheckGates(const Json& json, const std::string& architecture, const std::string& name) {
  const bool unnormalised = architecture == kUnnormalisedArchitecture;
  if (JsonBool(json, "norm_topk_prob", !unnormalised, name) != unnormalised) return;
  throw Error("{}: norm_topk_prob is {} but {} gates are {}", name, unnormalised, architecture,
              unnormalised ? "never renormalised (model_type mixtral has those that are)"
                           : fmt::format("always renormalised (model_type {} has those that are "
                                         "not)",
                                         kUnnormalisedArchitecture));
}

}  // namespace

ModelConfig ConfigFromJson(const Json& json, const std::string& name) {
  if (!json.is_object()) throw Error("{}: must hold a JSON object", name);
  ModelConfig config;
  config.architecture = JsonString(json, "model_type", "", name);
  const bool unnormalised = config.architecture == kUnnormalisedArchitecture;
  const bool mixtral = config.architecture == "mixtral" || unnormalised;
  const bool mistral = config.architecture == "mistral";
  if (!mixtral && !mistral && config.architecture != "llama") {
    throw Error("{}: model_type is '{}' but must be mixtral, mistral, llama or {}", name,
                Printable(config.architecture), kUnnormalisedArchitecture);
  }
  if (mixtral) CheckGates(json, config.architecture, name);
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
    if (unnormalised) config.router.softmax = RouterSoftmax::kAll;
    config.router_aux_loss_coef = JsonNumber(json, "router_aux_loss_coef", 0.001, name);
  }
  config.bos_id = static_cast<int32_t>(JsonInt(json, "bos_token_id", 1, 0, INT32_MAX, name));
  config.eos_ids = EosIds(json, name);
  config.Validate(name);
  return config;
}

ModelConfig ConfigFromParams(const Json& params, const std::string& name) {
  if (!params.is_object()) throw Error("{}: must hold a JSON object", name);
  const std::string type = JsonString(params, "model_type", "transformer", name);
  if (type != "transformer") {
    throw Error("{}: model_type is '{}' but must be transformer", name, Printable(type));
  }
  for (const char* key : {"vision_encoder", "audio_encoder", "multimodal", "yarn", "lora"}) {
    const auto found = params.find(key);
    if (found != params.end() && !found->is_null())
      throw Error("{}: has {}, which Cadre does not run", name, key);
  }
  if (JsonBool(params, "use_biases", false, name))
    throw Error("{}: use_biases is true, but Cadre runs models without biases", name);
  ModelConfig config;
  const auto count = [&](const char* key, int64_t fallback = -1) {
    if (fallback < 0 && !params.contains(key)) throw Error("{}: {} is missing", name, key);
    return JsonInt(params, key, fallback, 0, INT64_C(1) << 40, name);
  };
  config.dim = count("dim");
  config.num_layers = count("n_layers");
  config.hidden_dim = count("hidden_dim");
  config.num_heads = count("n_heads");
  config.num_kv_heads = count("n_kv_heads", config.num_heads);
  config.head_dim = count("head_dim", config.num_heads > 0 ? config.dim / config.num_heads : 0);
  config.vocab_size = count("vocab_size");
  config.rms_norm_eps = static_cast<float>(JsonNumber(params, "norm_eps", 1e-5, name));
  config.rope_layout = RopeLayout::kInterleaved;
  config.tie_embeddings = JsonBool(params, "tied_embeddings", false, name);
  config.sliding_window = MistralWindow(params, name);
  // Without the key: what Mistral's code takes. The models with a window came before the larger
  // one.
  config.rope_theta = JsonNumber(params, "rope_theta", config.sliding_window > 0 ? 1e4 : 1e6, name);
  // The file does not say for how long a context the model was trained.
  config.context_length = count("max_seq_len", config.dim >= 6144 ? 65536 : 32768);
  const auto moe = params.find("moe");
  const bool sparse = moe != params.end() && !moe->is_null();
  config.architecture = sparse ? "mixtral" : "mistral";
  if (sparse) {
    if (!moe->is_object()) throw Error("{}: moe must be an object", name);
    config.router.num_experts = JsonInt(*moe, "num_experts", 8, 0, 1 << 20, name);
    config.router.top_k = JsonInt(*moe, "num_experts_per_tok", 2, 0, 1 << 20, name);
  }
  config.Validate(name);
  return config;
}

OrderedJson ConfigToJson(const ModelConfig& config, DType type) {
  const bool unnormalised = config.router.unnormalised();
  const bool mixtral = config.architecture == "mixtral" || unnormalised;
  // transformers' Llama knows no window.
  const bool mistral = config.architecture == "mistral" || (!mixtral && config.sliding_window > 0);
  OrderedJson json;
  json["architectures"] = {unnormalised ? "CadreMoeForCausalLM"
                           : mixtral    ? "MixtralForCausalLM"
                           : mistral    ? "MistralForCausalLM"
                                        : "LlamaForCausalLM"};
  json["model_type"] = unnormalised ? kUnnormalisedArchitecture
                       : mixtral    ? "mixtral"
                       : mistral    ? "mistral"
                                    : "llama";
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
    if (unnormalised) json["norm_topk_prob"] = false;
  }
  json["bos_token_id"] = config.bos_id >= 0 ? OrderedJson(config.bos_id) : OrderedJson(nullptr);
  if (config.eos_ids.size() == 1) {
    json["eos_token_id"] = config.eos_ids[0];
  } else {
    json["eos_token_id"] = config.eos_ids;
  }
  json["torch_dtype"] = type == DType::kBF16  ? "bfloat16"
                        : type == DType::kF16 ? "float16"
                                              : "float32";
  return json;
}

OrderedJson ConfigToParams(const ModelConfig& config) {
  OrderedJson params;
  params["dim"] = config.dim;
  params["n_layers"] = config.num_layers;
  params["head_dim"] = config.head_dim;
  params["hidden_dim"] = config.hidden_dim;
  params["n_heads"] = config.num_heads;
  params["n_kv_heads"] = config.num_kv_heads;
  params["norm_eps"] = static_cast<double>(config.rms_norm_eps);
  params["vocab_size"] = config.vocab_size;
  params["rope_theta"] = config.rope_theta;
  params["max_seq_len"] = config.context_length;
  if (config.sliding_window > 0) params["sliding_window"] = config.sliding_window;
  if (config.tie_embeddings) params["tied_embeddings"] = true;
  if (!config.router.dense()) {
    params["moe"] = {{"num_experts_per_tok", config.router.top_k},
                     {"num_experts", config.router.num_experts}};
  }
  return params;
}

}  // namespace cadre
