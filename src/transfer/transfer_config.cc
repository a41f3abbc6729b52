#include "transfer/transfer_config.h"

#include "base/error.h"
#include "base/json.h"
#include "train/train_config.h"

namespace cadre {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

ConfigReader GroupsKey(std::map<std::string, std::vector<std::string>>& groups) {
  return [&groups](const Json& value, const std::string& where) {
    if (!value.is_object()) throw Error("{}: must be an object of lists of file names", where);
    groups.clear();
    for (const auto& [group, files] : value.items())
      groups[group] = StringsOf(files, where + "." + Printable(group));
  };
}

void Append(std::vector<ConfigKey>& keys, std::vector<ConfigKey> more) {
  for (auto& key : more) keys.push_back(std::move(key));
}

std::vector<ConfigKey> TextKeys(TextConfig& c) {
  return {
      {"name", "name of the model in the files written (model)", false, TextKey(c.name)},
      {"seed", "of the order of data, of what is drawn at random and of dropout (1)", true,
       [&c](const Json& v, const std::string& w) {
         c.seed = static_cast<uint64_t>(JsonInt(Json{{"value", v}}, "value", 1, 0, kMany, w));
       }},
      {"data.folder", "where the data files are; names are relative to it (the current folder)",
       false, TextKey(c.data_folder)},
      {"data.format",
       "text: documents, as for cadre train; chat: conversations or instructions, as for cadre "
       "sft, "
       "of which only the answers are learnt (text)",
       true, WordKey({{"text", [&c] { c.chat = false; }}, {"chat", [&c] { c.chat = true; }}})},
      {"data.train", "list of .txt (not of chat) or .jsonl files, .zst and .gz too", true,
       [&c](const Json& v, const std::string& w) { c.train_files = StringsOf(v, w); }},
      {"data.valid",
       "object: group name to list of files, which are measured and not trained on (none)", false,
       GroupsKey(c.valid_files)},
      {"data.held_back",
       "share of the prompts of data.train that is measured and not trained on; of chat (0)", true,
       NumberKey(c.held_back, 0, 0.9)},
      {"data.skip_bad_lines", "count lines that cannot be read, and go on; of chat (false)", true,
       BoolKey(c.skip_bad_lines)},
      {"train.steps",
       fmt::format("({}); another number with --resume makes the run longer or shorter; 0 writes "
                   "the model as it begins",
                   c.steps),
       false, IntegerKey(c.steps, 0, kMany)},
      {"train.batch_tokens", "tokens of one step (4096)", true,
       IntegerKey(c.batch_tokens, 1, 1 << 24)},
      {"train.segment_tokens", "longest sequence; documents are cut into such pieces (512)", true,
       IntegerKey(c.segment_tokens, 1, 1 << 20)},
      {"train.micro_tokens",
       "tokens that run at once; a larger step is done in parts whose gradients add up (4096)",
       true, IntegerKey(c.micro_tokens, 1, 1 << 24)},
      {"train.validate_tokens",
       "per group and validation; the last validation takes all; 0 is always all (16384)", false,
       IntegerKey(c.validate_tokens, 0, kMany)},
  };
}

std::vector<ConfigKey> Keys(DistillConfig& c) {
  auto keys = TextKeys(c);
  DistillLoss& l = c.loss;
  using Kind = Divergence;
  const auto size = [](int64_t& field) { return IntegerKey(field, 0, 1 << 20); };
  Append(
      keys,
      {{"teacher", "the model to learn from: a folder, a .gguf file or a name, of any stored type",
        true, TextKey(c.teacher)},
       {"distill.teacher_activations",
        "f32: exactly; auto: rounded as the teacher's types like them best, which is faster for "
        "quantised ones (f32)",
        true,
        WordKey({{"f32", [&c] { c.round_activations = false; }},
                 {"auto", [&c] { c.round_activations = true; }}})},
       {"distill.loss",
        "what is made small between teacher p and student q: forward_kl, sum p log(p / q); "
        "reverse_kl, sum q log(q / p); js, the Jensen-Shannon divergence (forward_kl)",
        true,
        WordKey({{"forward_kl", [&l] { l.divergence = Kind::kForwardKl; }},
                 {"reverse_kl", [&l] { l.divergence = Kind::kReverseKl; }},
                 {"js", [&l] { l.divergence = Kind::kJensenShannon; }}})},
       {"distill.temperature",
        "p and q are softmaxes of logits divided by it; the loss is multiplied by its square (1)",
        true, NumberKey(l.temperature, 0.01, 100)},
       {"distill.weight",
        "share of that in the loss; the rest is cross-entropy of the text (0.5; Switch took 0.25)",
        true, NumberKey(l.weight, 0, 1)},
       {"distill.beta", "share of the teacher in the mixture of js (0.5)", true,
        NumberKey(l.beta, 1e-3, 1 - 1e-3)},
       {"student.init",
        "merged: the teacher with each layer's FFN the mean of its experts; copied: the teacher "
        "with FFNs drawn at random; random: all drawn at random; model: student.model (merged)",
        true,
        WordKey({{"merged", [&c] { c.init = StudentInit::kMerged; }},
                 {"copied", [&c] { c.init = StudentInit::kCopied; }},
                 {"random", [&c] { c.init = StudentInit::kRandom; }},
                 {"model", [&c] { c.init = StudentInit::kModel; }}})},
       {"student.model", "a model of the teacher's vocabulary to start from (none)", true,
        TextKey(c.student_model)},
       {"student.merge",
        "how experts count: frequency, as often as the teacher's router chooses them on "
        "data.train, layer by layer; or equal (frequency)",
        true,
        WordKey({{"frequency", [&c] { c.merge = MergeWeights::kFrequency; }},
                 {"equal", [&c] { c.merge = MergeWeights::kEqual; }}})},
       {"student.merge_tokens", "tokens that the frequency is measured on (16384)", true,
        IntegerKey(c.merge_tokens, 1, kMany)},
       {"student.hidden_dim",
        "width of the FFN, where it is drawn at random (the teacher's, times experts per token)",
        true, size(c.shape.hidden_dim)},
       {"student.dim", "with student.init random, as the next (the teacher's)", true,
        size(c.shape.dim)},
       {"student.layers", "(the teacher's)", true, size(c.shape.layers)},
       {"student.heads", "(the teacher's)", true, size(c.shape.heads)},
       {"student.kv_heads", "(the teacher's)", true, size(c.shape.kv_heads)},
       {"student.head_dim", "(dim / heads where one is given, else the teacher's)", true,
        size(c.shape.head_dim)},
       {"student.init_sigma", "deviation of weights drawn at random (0.02)", true,
        NumberKey(c.init_sigma, 0, 10)},
       {"baseline",
        "also trains, before the student and on the same tokens, one that hears no teacher: same, "
        "which begins as the student does, or random, which begins at random; the report then says "
        "what share of the teacher's gain over it the student keeps (none)",
        true,
        WordKey({{"none", [&c] { c.baseline = DistillBaseline::kNone; }},
                 {"same", [&c] { c.baseline = DistillBaseline::kSame; }},
                 {"random", [&c] { c.baseline = DistillBaseline::kRandom; }}})}});
  Append(keys, RunKeys(c));
  return keys;
}

std::vector<ConfigKey> Keys(UpcycleConfig& c) {
  auto keys = TextKeys(c);
  ExpertVariation& v = c.variation;
  RouterConfig& r = c.router;
  Append(
      keys,
      {{"model",
        "the dense model to start from: a folder, a .gguf file or a name, of any stored type", true,
        TextKey(c.model)},
       {"upcycle.experts", "per layer, each a copy of the dense FFN (8)", true,
        IntegerKey(r.num_experts, 2, 4096)},
       {"upcycle.experts_per_token", "(2)", true, IntegerKey(r.top_k, 1, 4096)},
       {"upcycle.router_sigma", "deviation of the router's first weights (0.02)", true,
        NumberKey(v.router_sigma, 0, 10)},
       {"upcycle.noise",
        "deviation of noise added to the copies, as a share of each matrix's own deviation (0)",
        true, NumberKey(v.noise, 0, 10)},
       {"upcycle.noise_share", "share of the entries that get noise (1)", true,
        NumberKey(v.noise_share, 0, 1)},
       {"upcycle.redraw",
        "share of each copy's hidden units that are drawn anew with their weights' mean and "
        "deviation; Drop-Upcycling took 0.5 (0)",
        true, NumberKey(v.redrawn, 0, 1)},
       {"router.norm_topk_prob",
        "whether the gates of the chosen experts are made to sum to one; then, without noise, the "
        "model begins as exactly the dense one; without, w2 is multiplied by experts / "
        "experts_per_token, and it begins near it (true)",
        true,
        [&r](const Json& v_, const std::string& w) {
          const bool normalised = JsonBool(Json{{"value", v_}}, "value", true, w);
          r.softmax = normalised ? RouterSoftmax::kChosen : RouterSoftmax::kAll;
        }},
       {"router.capacity_factor",
        "in training an expert takes at most ceil(factor * tokens of the part * experts_per_token "
        "/ experts); 0 never drops (0)",
        true, NumberKey(r.capacity_factor, 0, 4096)},
       {"router.jitter",
        "in training the router, and it alone, reads its input times U(1 - jitter, 1 + jitter) (0)",
        true, NumberKey(r.jitter, 0, 0.99)},
       {"baseline",
        "dense: also trains the dense model, first and on the same tokens; the report then says "
        "what is gained over that (none)",
        true, WordKey({{"none", [&c] { c.baseline = false; }}, {"dense", [&c] {
                                                                  c.baseline = true;
                                                                }}})}});
  Append(keys, RunKeys(c));
  return keys;
}

DistillConfig DistillDefaults() {
  DistillConfig config;
  config.schedule.warmup_steps = 50;
  return config;
}

UpcycleConfig UpcycleDefaults() {
  UpcycleConfig config;
  config.router = {.num_experts = 8, .top_k = 2};
  config.schedule.peak = 5e-4;
  config.schedule.warmup_steps = 50;
  config.optimiser.balance_coefficient = 0.02;
  return config;
}

void Finish(TextConfig& c, bool with_baseline, const std::string& name) {
  FinishSchedule(c, name);
  c.optimiser.dropout.seed = c.seed;
  if (c.train_files.empty() && c.steps > 0) throw Error("{}: data.train names no file", name);
  for (const auto& [group, files] : c.valid_files) {
    if (files.empty())
      throw Error("{}: group '{}' of data.valid names no file", name, Printable(group));
  }
  if (!c.chat && c.held_back > 0)
    throw Error("{}: data.held_back is for data.format chat; name files in data.valid", name);
  if (with_baseline && c.valid_files.empty() && c.held_back == 0)
    throw Error("{}: baseline needs data.valid, to be compared on", name);
  if (c.chat && c.segment_tokens > c.batch_tokens) {
    throw Error("{}: train.segment_tokens is {} but must not be above train.batch_tokens, {}", name,
                c.segment_tokens, c.batch_tokens);
  }
}

}  // namespace

DistillConfig ParseDistillConfig(const Json& json, const std::vector<std::string>& settings,
                                 const std::string& name) {
  DistillConfig config = DistillDefaults();
  config.fingerprint =
      ReadConfig(Keys(config), json, settings, name, "cadre distill --help", &config.given);
  Finish(config, config.baseline != DistillBaseline::kNone, name);
  if (config.teacher.empty()) throw Error("{}: teacher names no model to learn from", name);
  const bool from_model = config.init == StudentInit::kModel;
  if (from_model && config.student_model.empty())
    throw Error("{}: student.init is model but student.model names none", name);
  if (!from_model && !config.student_model.empty())
    throw Error("{}: student.model is given but student.init is not model", name);
  const bool measures =
      config.init == StudentInit::kMerged && config.merge == MergeWeights::kFrequency;
  if (measures && config.train_files.empty()) {
    throw Error(
        "{}: data.train names no file to measure how often experts are chosen; or take "
        "student.merge=equal",
        name);
  }
  return config;
}

UpcycleConfig ParseUpcycleConfig(const Json& json, const std::vector<std::string>& settings,
                                 const std::string& name) {
  UpcycleConfig config = UpcycleDefaults();
  config.fingerprint =
      ReadConfig(Keys(config), json, settings, name, "cadre upcycle --help", &config.given);
  Finish(config, config.baseline, name);
  if (config.model.empty()) throw Error("{}: model names no model to start from", name);
  const RouterConfig& router = config.router;
  if (router.top_k > router.num_experts) {
    throw Error("{}: upcycle.experts_per_token is {} but must not be above upcycle.experts, {}",
                name, router.top_k, router.num_experts);
  }
  if (router.top_k == 1 && router.softmax == RouterSoftmax::kChosen) {
    throw Error(
        "{}: upcycle.experts_per_token is 1, whose gate would always be 1 and teach the router "
        "nothing: router.norm_topk_prob must be false",
        name);
  }
  return config;
}

std::vector<std::pair<std::string, std::string>> DistillConfigKeys() {
  DistillConfig config = DistillDefaults();
  return Documented(Keys(config));
}

std::vector<std::pair<std::string, std::string>> UpcycleConfigKeys() {
  UpcycleConfig config = UpcycleDefaults();
  return Documented(Keys(config));
}

}  // namespace cadre
