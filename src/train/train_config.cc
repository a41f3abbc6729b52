#include "train/train_config.h"

#include <map>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

Json Member(const Json& value) { return Json{{"value", value}}; }

// Binds every key but RunKeys to a field of `c`.
std::vector<ConfigKey> OwnKeys(TrainConfig& c) {
  const auto integer = IntegerKey;
  const auto number = [](auto& field, double min, double max) {
    return NumberKey(field, min, max);
  };
  const auto text = TextKey;
  const auto files = StringsOf;
  ModelConfig& m = c.model;
  return {
      {"name", "name of the model in the files written (model)", false, text(c.name)},
      {"seed", "of initial weights, order of data and dropout (1)", true,
       [&c](const Json& v, const std::string& w) {
         c.seed = static_cast<uint64_t>(JsonInt(Member(v), "value", 1, 0, kMany, w));
       }},
      {"model.dim", "width of the residual stream (256)", true, integer(m.dim, 1, 1 << 20)},
      {"model.hidden_dim", "width inside one expert (512)", true,
       integer(m.hidden_dim, 1, 1 << 20)},
      {"model.layers", "(4)", true, integer(m.num_layers, 1, 1024)},
      {"model.heads", "query heads (8)", true, integer(m.num_heads, 1, 4096)},
      {"model.kv_heads", "key/value heads, dividing heads (4)", true,
       integer(m.num_kv_heads, 1, 4096)},
      {"model.head_dim", "(dim / heads)", true, integer(m.head_dim, 0, 4096)},
      {"model.experts", "per layer; 1 is a dense model, to which no key about routers applies (8)",
       true, integer(m.router.num_experts, 1, 4096)},
      {"model.experts_per_token", "(2; 1 where router.kind is switch)", true,
       integer(m.router.top_k, 1, 4096)},
      {"model.context", "longest text in tokens that the model is said to take (1024)", true,
       integer(m.context_length, 1, kMany)},
      {"model.sliding_window", "keys a token sees; 0 is all (0)", true,
       integer(m.sliding_window, 0, kMany)},
      {"model.rope_theta", "(10000)", true, number(m.rope_theta, 1, 1e12)},
      {"model.tie_embeddings", "the output head is the embedding (false)", true,
       [&m](const Json& v, const std::string& w) {
         m.tie_embeddings = JsonBool(Member(v), "value", false, w);
       }},
      {"model.init_sigma", "deviation of the initial weights (0.02)", true,
       number(c.init_sigma, 0, 10)},
      {"router.kind",
       "mixtral: gates are a softmax over the chosen experts; switch: one expert, its gate from "
       "the softmax over all; noisy: as mixtral, with learnt noise on the logits in training "
       "(mixtral)",
       true,
       WordKey({{"mixtral", [&c] { c.router_kind = RouterKind::kMixtral; }},
                {"switch", [&c] { c.router_kind = RouterKind::kSwitch; }},
                {"noisy", [&c] { c.router_kind = RouterKind::kNoisy; }}})},
      {"router.norm_topk_prob",
       "whether the gates of the chosen experts are made to sum to one (true; false for switch)",
       true,
       [&c](const Json& v, const std::string& w) {
         c.norm_topk_prob = JsonBool(Member(v), "value", true, w);
       }},
      {"router.capacity_factor",
       "in training an expert takes at most ceil(factor * tokens of the step * experts_per_token "
       "/ experts), first choices before second; what finds it full passes by; 0 never drops (0)",
       true, number(m.router.capacity_factor, 0, 4096)},
      {"router.jitter",
       "in training the router, and it alone, reads its input times U(1 - jitter, 1 + jitter); "
       "Switch took 0.01 (0)",
       true, number(m.router.jitter, 0, 0.99)},
      {"router.noise_floor", "least deviation of the noise of router.kind noisy (0.01)", true,
       number(m.router.noise_floor, 1e-6, 10)},
      {"router.second_by_lot",
       "in training a token's second expert runs with a chance of twice its share of the two "
       "gates, "
       "as in GShard; for two experts per token (false)",
       true,
       [&m](const Json& v, const std::string& w) {
         m.router.second_by_lot = JsonBool(Member(v), "value", false, w);
       }},
      {"tokenizer.path", "a tokenizer.model to use (none: train one on data.train)", true,
       text(c.tokenizer_path)},
      {"tokenizer.vocab_size", "pieces of the tokenizer to train (4096)", true,
       integer(c.tokenizer_vocab, 300, 1 << 20)},
      {"data.folder", "where the data files are; names are relative to it (the current folder)",
       false, text(c.data_folder)},
      {"data.train",
       "list of .txt or .jsonl files, .zst and .gz too; or an object: name of a source to such a "
       "list",
       true, SourcesKey(c.train, "train")},
      {"data.weights",
       "object: name of a source to its share of the tokens trained on, beside the others' (each "
       "as "
       "many as it has)",
       true, WeightsKey(c.train)},
      {"data.valid",
       "object: group name to list of files; loss and bits per byte are reported per group (none)",
       false,
       [&c, files](const Json& v, const std::string& w) {
         if (!v.is_object()) throw Error("{}: must be an object of lists of file names", w);
         for (const auto& [group, list] : v.items())
           c.valid_files[group] = files(list, w + "." + group);
       }},
      {"train.steps", "(1000); another number with --resume makes the run longer or shorter", false,
       integer(c.steps, 1, kMany)},
      {"train.batch_tokens", "tokens of one step (4096)", true,
       integer(c.batch_tokens, 1, 1 << 24)},
      {"train.micro_tokens",
       "tokens that run at once; a larger step is done in parts whose gradients add up. Where "
       "experts have a capacity it is one of a part (8192)",
       true, integer(c.micro_tokens, 1, 1 << 24)},
      {"train.segment_tokens", "longest sequence; documents are cut into such pieces (512)", true,
       integer(c.segment_tokens, 1, 1 << 20)},
      {"train.load",
       "coefficient of the load loss, CV^2 of the experts' smooth loads; needs router.kind noisy; "
       "Shazeer 2017 took 0.1 (0)",
       true, number(c.optimiser.load_coefficient, 0, 1e6)},
      {"train.validate_tokens",
       "per group and validation; the last validation takes all; 0 is always all (16384)", false,
       integer(c.validate_tokens, 0, kMany)},
  };
}

void SetDefaults(TrainConfig& c) {
  c.model.dim = 256;
  c.model.hidden_dim = 512;
  c.model.num_layers = 4;
  c.model.num_heads = 8;
  c.model.num_kv_heads = 4;
  c.model.context_length = 1024;
  c.model.rope_theta = 10000;
  c.model.router = {.num_experts = 8, .top_k = 0};  // 0: as the kind has it
  c.schedule.warmup_steps = 100;
  c.optimiser.balance_coefficient = 0.02;
}

std::vector<ModelPart> PartsOf(const Json& value, const std::string& where) {
  static const std::map<std::string, ModelPart> kParts = {
      {"embedding", ModelPart::kEmbedding}, {"attention", ModelPart::kAttention},
      {"router", ModelPart::kRouter},       {"experts", ModelPart::kExperts},
      {"norms", ModelPart::kNorms},         {"head", ModelPart::kHead}};
  std::vector<ModelPart> parts;
  for (const auto& name : StringsOf(value, where)) {
    const auto found = kParts.find(name);
    if (found == kParts.end()) {
      throw Error(
          "{}: has '{}' but its parts are embedding, attention, router, experts, norms and head",
          where, Printable(name));
    }
    parts.push_back(found->second);
  }
  return parts;
}

void ChooseBalanceScope(BalanceScope scope, RunConfig& c) {
  c.balance_scope = scope;
  c.optimiser.balance_scope = scope;
}

std::vector<ConfigKey> Keys(TrainConfig& c) {
  std::vector<ConfigKey> keys = OwnKeys(c);
  for (auto& key : RunKeys(c)) keys.push_back(std::move(key));
  return keys;
}

void FinishRouter(TrainConfig& c, const std::string& name) {
  RouterConfig& router = c.model.router;
  if (router.dense()) {  // has none, and is trained with the keys of a sparse model beside it
    router = {};
    return;
  }
  const bool is_switch = c.router_kind == RouterKind::kSwitch;
  if (router.top_k == 0) router.top_k = is_switch ? 1 : 2;
  if (is_switch && router.top_k != 1) {
    throw Error("{}: model.experts_per_token is {} but must be 1 where router.kind is switch", name,
                router.top_k);
  }
  if (is_switch && c.norm_topk_prob.value_or(false)) {
    throw Error(
        "{}: router.norm_topk_prob is true but router.kind switch must not renormalise: the gate "
        "would always be 1 and teach the router nothing",
        name);
  }
  if (router.second_by_lot && router.top_k != 2) {
    throw Error(
        "{}: model.experts_per_token is {} but must be 2 where router.second_by_lot is true", name,
        router.top_k);
  }
  router.softmax =
      c.norm_topk_prob.value_or(!is_switch) ? RouterSoftmax::kChosen : RouterSoftmax::kAll;
  router.noise = c.router_kind == RouterKind::kNoisy;
  if (c.optimiser.load_coefficient != 0 && !router.noise) {
    throw Error(
        "{}: train.load is {} but must be 0 unless router.kind is noisy: counts of choices have no "
        "slope",
        name, c.optimiser.load_coefficient);
  }
}

void Finish(TrainConfig& c, const std::string& name) {
  FinishSchedule(c, name);
  ModelConfig& m = c.model;
  FinishRouter(c, name);
  // transformers' Llama knows no window.
  m.architecture = m.router.unnormalised() ? kUnnormalisedArchitecture
                   : !m.router.dense()     ? "mixtral"
                   : m.sliding_window > 0  ? "mistral"
                                           : "llama";
  if (m.head_dim == 0 && m.num_heads > 0) m.head_dim = m.dim / m.num_heads;
  m.router_aux_loss_coef = c.optimiser.balance_coefficient;
  m.vocab_size = c.tokenizer_vocab;
  c.optimiser.dropout.seed = c.seed;
  m.Validate(name);
  CheckSources(c.train, "data.train", name);
}

}  // namespace

void FinishSchedule(RunConfig& c, const std::string& name) {
  Schedule& s = c.schedule;
  s.steps = c.steps;
  if (s.kind != ScheduleKind::kWsd) {
    if (c.decay_steps >= 0 || c.decay)
      throw Error("{}: {} is for train.schedule wsd, but that is cosine", name,
                  c.decay ? "train.decay" : "train.decay_steps");
    return;
  }
  s.decay_steps = c.decay_steps >= 0 ? c.decay_steps : c.steps / 5;
  if (c.decay) s.decay = *c.decay;
  if (s.warmup_steps + s.decay_steps > s.steps) {
    throw Error(
        "{}: train.warmup_steps and train.decay_steps are {} and {} but must be at most {} "
        "together, train.steps",
        name, s.warmup_steps, s.decay_steps, s.steps);
  }
}

std::vector<ConfigKey> RunKeys(RunConfig& c) {
  const auto integer = IntegerKey;
  const auto number = [](auto& field, double min, double max) {
    return NumberKey(field, min, max);
  };
  OptimiserConfig& o = c.optimiser;
  return {
      {"train.lr", fmt::format("highest learning rate ({})", c.schedule.peak), true,
       number(c.schedule.peak, 0, 10)},
      {"train.final_lr_share",
       fmt::format("learning rate of the last step, as a share of the highest ({})",
                   c.schedule.final_share),
       true, number(c.schedule.final_share, 0, 1)},
      {"train.warmup_steps", fmt::format("({})", c.schedule.warmup_steps), true,
       integer(c.schedule.warmup_steps, 0, kMany)},
      {"train.schedule",
       "cosine: after the warm-up the rate falls until the last step; wsd: it stays at the highest "
       "and falls in the last train.decay_steps. A finished run of wsd that is resumed with more "
       "train.steps goes on from the checkpoint kept where the fall began (cosine)",
       true,
       WordKey({{"cosine", [&c] { c.schedule.kind = ScheduleKind::kCosine; }},
                {"wsd", [&c] { c.schedule.kind = ScheduleKind::kWsd; }}})},
      {"train.decay_steps", "last steps, in which wsd's rate falls (a fifth of train.steps)", false,
       integer(c.decay_steps, 0, kMany)},
      {"train.decay",
       "how wsd's rate falls: linear, cosine, or sqrt, which is 1 - sqrt of the share done (sqrt)",
       true,
       WordKey({{"linear", [&c] { c.decay = DecayShape::kLinear; }},
                {"cosine", [&c] { c.decay = DecayShape::kCosine; }},
                {"sqrt", [&c] { c.decay = DecayShape::kOneMinusSqrt; }}})},
      {"train.beta1", "of AdamW (0.9)", true, number(o.beta1, 0, 0.99999)},
      {"train.beta2", "of AdamW (0.95)", true, number(o.beta2, 0, 0.99999)},
      {"train.epsilon", "of AdamW (1e-8)", true, number(o.epsilon, 1e-20, 1)},
      {"train.weight_decay",
       fmt::format("decoupled, of matrices; norms are not decayed ({})", o.weight_decay), true,
       number(o.weight_decay, 0, 10)},
      {"train.clip_norm", "largest norm of the whole gradient; 0 is no limit (1)", true,
       number(o.clip_norm, 0, 1e9)},
      {"train.balance",
       fmt::format("coefficient of the load-balancing loss; 0 is none; this and the router's other "
                   "losses are means over the layers ({})",
                   o.balance_coefficient),
       true, number(o.balance_coefficient, 0, 1e6)},
      {"train.balance_over",
       "what is balanced: each layer for itself (layer), or all layers' rows together (model) "
       "(layer; model for balance_form hf)",
       true,
       WordKey({{"layer", [&c] { ChooseBalanceScope(BalanceScope::kLayer, c); }},
                {"model", [&c] { ChooseBalanceScope(BalanceScope::kModel, c); }}})},
      {"train.balance_form",
       "topk: experts times sum of load and mean probability, loads of all choices (k when "
       "balanced); switch: of first choices (1); gshard: as switch, by the square of the experts "
       "less; hf: topk over model, which is transformers' load_balancing_loss_func (topk)",
       true,
       [&c, &o](const Json& v, const std::string& w) {
         WordKey({{"topk", [&o] { o.balance_form = BalanceForm::kAllChoices; }},
                  {"switch", [&o] { o.balance_form = BalanceForm::kFirstChoice; }},
                  {"gshard", [&o] { o.balance_form = BalanceForm::kGshard; }},
                  {"hf", [&o] { o.balance_form = BalanceForm::kAllChoices; }}})(v, w);
         if (v != "hf") return;
         if (c.balance_scope == BalanceScope::kLayer)
           throw Error("{}: is hf, which is over model, but train.balance_over is layer", w);
         o.balance_scope = BalanceScope::kModel;
       }},
      {"train.importance",
       "coefficient of the importance loss, CV^2 of the experts' summed gates; Shazeer 2017 took "
       "0.1 (0)",
       true, number(o.importance_coefficient, 0, 1e6)},
      {"train.z_loss",
       "coefficient of the router z loss, mean of logsumexp(logits)^2; ST-MoE took 0.001 (0)", true,
       number(o.z_coefficient, 0, 1e6)},
      {"train.precision",
       "what the factors of matrix products are rounded to: f32 (not at all), or bf16, which is "
       "much faster where the processor multiplies it (AMX, AVX-512 BF16). Weights, sums, "
       "gradients "
       "and moments stay float32, and so does the router (f32)",
       true,
       WordKey({{"f32", [&o] { o.precision = ActivationType::kF32; }},
                {"bf16", [&o] { o.precision = ActivationType::kBF16; }}})},
      {"train.dropout", "of the embedding and of each branch (0)", true,
       number(o.dropout.rate, 0, 0.99)},
      {"train.expert_dropout", "inside the experts (0)", true,
       number(o.dropout.expert_rate, 0, 0.99)},
      {"train.checkpoint_every", fmt::format("steps ({})", c.checkpoint_every), false,
       integer(c.checkpoint_every, 1, kMany)},
      {"train.validate_every", fmt::format("steps ({})", c.validate_every), false,
       integer(c.validate_every, 1, kMany)},
      {"train.patience",
       "validations in a row without a better one that end the run early; 0 is never (0)", false,
       integer(c.patience, 0, kMany)},
      {"train.keep",
       "the weights of model/ and NAME.gguf: of the last step (last), or of the best validation "
       "(best), which best/ always holds (last)",
       false,
       WordKey({{"last", [&c] { c.keep_best = false; }}, {"best", [&c] { c.keep_best = true; }}})},
      {"train.freeze",
       "list of parts that stay as they are: embedding, attention, router, experts, norms, head "
       "(none)",
       true, [&o](const Json& v, const std::string& w) { o.frozen = PartsOf(v, w); }},
      {"gguf_type",
       "type of the matrices in the GGUF file written at the end: f32, f16, bf16, q8_0, q4_0, "
       "q4_k, q6_k (f16)",
       false,
       [&c](const Json& v, const std::string& w) {
         const auto type = v.is_string() ? DTypeFromName(v.get<std::string>()) : std::nullopt;
         if (!type)
           throw Error("{}: is {} but must be f32, f16, bf16, q8_0, q4_0, q4_k or q6_k", w,
                       Printable(v.dump()));
         c.gguf_type = *type;
       }},
  };
}

TrainConfig ParseTrainConfig(const Json& json, const std::vector<std::string>& settings,
                             const std::string& name) {
  TrainConfig config;
  SetDefaults(config);
  config.fingerprint =
      ReadConfig(Keys(config), json, settings, name, "cadre train --help", &config.given);
  Finish(config, name);
  return config;
}

std::vector<std::pair<std::string, std::string>> TrainConfigKeys() {
  TrainConfig config;
  SetDefaults(config);
  return Documented(Keys(config));
}

}  // namespace cadre
