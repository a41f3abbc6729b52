#include "align/tune_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "train/train_config.h"

namespace cadre {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

ConfigReader MatricesKey(std::vector<AdaptedMatrix>& matrices) {
  return [&matrices](const Json& value, const std::string& where) {
    matrices.clear();
    for (const auto& name : StringsOf(value, where)) {
      const auto matrix = AdaptedMatrixOf(name);
      if (!matrix) throw Error("{}: {} is none of q, k, v, o, w1, w2, w3", where, Printable(name));
      if (std::find(matrices.begin(), matrices.end(), *matrix) != matrices.end())
        throw Error("{}: {} is there twice", where, name);
      matrices.push_back(*matrix);
    }
    if (matrices.empty()) throw Error("{}: names no matrix", where);
  };
}

std::vector<ConfigKey> CommonKeys(TuneConfig& c) {
  return {
      {"name", "name of the model in the files written (model)", false, TextKey(c.name)},
      {"seed", "of the order of data and of dropout (1)", true,
       [&c](const Json& v, const std::string& w) {
         c.seed = static_cast<uint64_t>(JsonInt(Json{{"value", v}}, "value", 1, 0, kMany, w));
       }},
      {"model", "the model to start from: a folder, a .gguf file or a name, of any stored type",
       true, TextKey(c.model)},
      {"data.folder", "where the data files are; names are relative to it (the current folder)",
       false, TextKey(c.data_folder)},
      {"data.train",
       "list of .jsonl files, .zst and .gz too; or an object: name of a source to such a list",
       true, SourcesKey(c.train, "train")},
      {"data.weights",
       "object: name of a source to its share of the draws (each as many as it has samples)", true,
       WeightsKey(c.train)},
      {"data.valid", "as data.train: to measure, not to train on (none)", false,
       SourcesKey(c.valid, "valid")},
      {"data.held_back",
       "share of the prompts of data.train that is measured and not trained on (0)", true,
       NumberKey(c.held_back, 0, 0.9)},
      {"data.strings",
       "prompts and answers that are strings are what the sides of a conversation say (chat), or "
       "text as it is (plain) (chat)",
       true,
       WordKey({{"chat", [&c] { c.strings = StringsAs::kChat; }},
                {"plain", [&c] { c.strings = StringsAs::kPlain; }}})},
      {"data.skip_bad_lines", "count lines that cannot be read, and go on (false)", true,
       BoolKey(c.skip_bad_lines)},
      {"lora.rank",
       "trains low-rank adapters of this rank beside the weights, which stay as they are stored, "
       "and by "
       "default at ten times the rate; 0 trains all weights (0)",
       true, IntegerKey(c.lora.rank, 0, 1 << 16)},
      {"lora.alpha", "adapters are scaled by alpha / rank; 0 is twice the rank (0)", true,
       NumberKey(c.lora.alpha, 0, 1e6)},
      {"lora.rank_stabilised", "by alpha / sqrt(rank): rsLoRA (false)", true,
       BoolKey(c.lora.rank_stabilised)},
      {"lora.matrices",
       "list of the matrices that get one: q, k, v, o of attention, w1 (gate), w2 (down), w3 (up) "
       "of every expert (all)",
       true, MatricesKey(c.lora.matrices)},
      {"lora.from", "a folder of adapters, from here or PEFT, to go on with (new ones)", true,
       TextKey(c.lora_from)},
      {"router.anchor",
       "coefficient of the divergence KL(routers of the model before || routers now), mean over "
       "tokens and layers: holds choices to what they were. This and router.replay run that model "
       "too, forward (0)",
       true, NumberKey(c.optimiser.anchor_coefficient, 0, 1e6)},
      {"router.replay",
       "tokens are trained with the experts that the model before chooses for them; gates are "
       "those "
       "of the routers now (false)",
       true, BoolKey(c.replay_routing)},
      {"train.steps",
       fmt::format("({}); another number with --resume makes the run longer or shorter", c.steps),
       false, IntegerKey(c.steps, 1, kMany)},
      {"train.micro_tokens",
       "tokens that run at once; a larger step is done in parts whose gradients add up (8192)",
       true, IntegerKey(c.micro_tokens, 1, 1 << 24)},
      {"train.validate_samples", "of each source; 0 is all (200)", false,
       IntegerKey(c.validate_samples, 0, kMany)},
  };
}

void Append(std::vector<ConfigKey>& keys, std::vector<ConfigKey> more) {
  for (auto& key : more) keys.push_back(std::move(key));
}

std::vector<ConfigKey> Keys(SftConfig& c) {
  auto keys = CommonKeys(c);
  Append(keys, {{"train.batch_tokens",
                 "most tokens of one step, prompts included; samples are not divided (4096)", true,
                 IntegerKey(c.batch_tokens, 2, 1 << 24)},
                {"train.segment_tokens", "longest sample; what is beyond is cut off (512)", true,
                 IntegerKey(c.segment_tokens, 2, 1 << 20)}});
  Append(keys, RunKeys(c));
  return keys;
}

std::vector<ConfigKey> Keys(DpoConfig& c) {
  auto keys = CommonKeys(c);
  PreferenceConfig& p = c.preference;
  using Loss = PreferenceLoss;
  using Prompt = PairLimits::Prompt;
  Append(
      keys,
      {{"train.batch_pairs", "pairs of one step (32)", true, IntegerKey(c.batch_pairs, 1, 1 << 20)},
       {"dpo.loss",
        "sigmoid (DPO; with label smoothing conservative DPO), ipo, hinge (SLiC) or robust "
        "(sigmoid)",
        true,
        WordKey({{"sigmoid", [&p] { p.loss = Loss::kSigmoid; }},
                 {"ipo", [&p] { p.loss = Loss::kIpo; }},
                 {"hinge", [&p] { p.loss = Loss::kHinge; }},
                 {"robust", [&p] { p.loss = Loss::kRobust; }}})},
       {"dpo.beta", "how strongly the policy is held to the model it began as (0.1)", true,
        NumberKey(p.beta, 1e-6, 1e6)},
       {"dpo.label_smoothing",
        "share of pairs taken to be labelled the wrong way round; for sigmoid and robust (0)", true,
        NumberKey(p.label_smoothing, 0, 0.499)},
       {"dpo.length_normalised",
        "log-probabilities are means over an answer's tokens, not sums; IPO's authors and TRL mean "
        "it so for ipo, the original code does not (false)",
        true, BoolKey(p.length_normalised)},
       {"dpo.reference_free", "against a reference that gives all answers alike (false)", true,
        BoolKey(p.reference_free)},
       {"dpo.sft", "coefficient of the cross-entropy of the chosen answers; 0 is none (0)", true,
        NumberKey(p.sft_coefficient, 0, 1e6)},
       {"dpo.max_tokens", "longest prompt with answer (512)", true,
        IntegerKey(c.limits.max_tokens, 4, 1 << 20)},
       {"dpo.max_prompt_tokens",
        "what a prompt is cut to where max_tokens is not enough; answers are then cut to what is "
        "left (256)",
        true, IntegerKey(c.limits.max_prompt_tokens, 2, 1 << 20)},
       {"dpo.long_prompt",
        "what of such a prompt stays: keep_end, keep_start, or nothing of the pair: drop "
        "(keep_end)",
        true,
        WordKey({{"keep_end", [&c] { c.limits.long_prompt = Prompt::kKeepEnd; }},
                 {"keep_start", [&c] { c.limits.long_prompt = Prompt::kKeepStart; }},
                 {"drop", [&c] { c.limits.long_prompt = Prompt::kDropPair; }}})},
       {"dpo.reference_cache",
        "file of the reference's log-probabilities, used again where it fits (reference.jsonl in "
        "--out)",
        false, TextKey(c.reference_cache)}});
  Append(keys, RunKeys(c));
  return keys;
}

void SetCommonDefaults(TuneConfig& c) {
  c.steps = 500;
  c.schedule.warmup_steps = 20;
  c.optimiser.weight_decay = 0;
  c.optimiser.balance_coefficient = 0.001;
  c.checkpoint_every = 50;
  c.validate_every = 50;
}

SftConfig SftDefaults() {
  SftConfig config;
  SetCommonDefaults(config);
  config.schedule.peak = 2e-5;
  return config;
}

DpoConfig DpoDefaults() {
  DpoConfig config;
  SetCommonDefaults(config);
  config.schedule.peak = 1e-6;
  return config;
}

void Finish(TuneConfig& c, const std::string& name) {
  FinishSchedule(c, name);
  c.optimiser.dropout.seed = c.seed;
  const Json given = ParseJson(c.given, name);
  if (c.lora.rank > 0 && !c.lora_from.empty())
    throw Error("{}: lora.from brings adapters along, lora.rank makes new ones: choose one", name);
  for (const char* key : {"lora.alpha", "lora.rank_stabilised", "lora.matrices"}) {
    if (c.lora.rank == 0 && given.contains(key))
      throw Error("{}: {} is for new adapters, but lora.rank is 0", name, key);
  }
  // Adapters take about ten times the rate of whole weights.
  if (c.trains_adapters() && !given.contains("train.lr")) c.schedule.peak *= 10;
  if (c.model.empty()) throw Error("{}: model names no model to start from", name);
  CheckSources(c.train, "data.train", name);
  if (!c.valid.empty()) CheckSources(c.valid, "data.valid", name);
}

}  // namespace

SftConfig ParseSftConfig(const Json& json, const std::vector<std::string>& settings,
                         const std::string& name) {
  SftConfig config = SftDefaults();
  config.fingerprint =
      ReadConfig(Keys(config), json, settings, name, "cadre sft --help", &config.given);
  Finish(config, name);
  if (config.segment_tokens > config.batch_tokens) {
    throw Error("{}: train.segment_tokens is {} but must not be above train.batch_tokens, {}", name,
                config.segment_tokens, config.batch_tokens);
  }
  return config;
}

DpoConfig ParseDpoConfig(const Json& json, const std::vector<std::string>& settings,
                         const std::string& name) {
  DpoConfig config = DpoDefaults();
  config.fingerprint =
      ReadConfig(Keys(config), json, settings, name, "cadre dpo --help", &config.given);
  Finish(config, name);
  if (config.limits.max_prompt_tokens >= config.limits.max_tokens) {
    throw Error("{}: dpo.max_prompt_tokens is {} but must be below dpo.max_tokens, {}", name,
                config.limits.max_prompt_tokens, config.limits.max_tokens);
  }
  return config;
}

std::vector<std::pair<std::string, std::string>> SftConfigKeys() {
  SftConfig config = SftDefaults();
  return Documented(Keys(config));
}

std::vector<std::pair<std::string, std::string>> DpoConfigKeys() {
  DpoConfig config = DpoDefaults();
  return Documented(Keys(config));
}

}  // namespace cadre
