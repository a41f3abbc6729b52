// cadre logits: one forward over given ids on the exact path, written as .npy; optionally what the
// routers chose.
#include <memory>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/fetching.h"
#include "cli/output.h"
#include "cli/session.h"
#include "formats/npy.h"

namespace cadre {
namespace {

struct LogitsOptions {
  SharedOptions shared;
  ModelOptions run{.kv = "f32", .activations = "f32"};
  std::string model;
  std::string ids;
  std::string prompt;
  bool has_ids = false;
  std::string out;
  std::string routing;
  bool json = false;
};

// What the routers of all layers chose, a row per token, as the file wants it.
class RoutingFile {
 public:
  explicit RoutingFile(int64_t num_layers) {
    for (int64_t i = 0; i < num_layers; ++i) {
      layers_.push_back(
          {{"experts", Json::array()}, {"gates", Json::array()}, {"probs", Json::array()}});
    }
  }

  // More than it takes of memory for so many tokens, as numbers and as text.
  static int64_t Bytes(const ModelConfig& config, size_t tokens) {
    constexpr int64_t kBytesPerNumber = 64;
    const int64_t numbers = 2 * config.router.top_k + config.router.num_experts + 4;
    return kBytesPerNumber * numbers * config.num_layers * static_cast<int64_t>(tokens);
  }

  void Observe(int64_t layer, const Routing& routing) {
    OrderedJson& json = layers_[static_cast<size_t>(layer)];
    for (int64_t row = 0; row < routing.experts.rows; ++row) {
      json["experts"].push_back(routing.experts.row_span(row));
      json["gates"].push_back(routing.gates.row_span(row));
      json["probs"].push_back(routing.probs.row_span(row));
    }
  }

  void Save(const std::string& path) const {
    WriteFileAtomically(path, OrderedJson{{"layers", layers_}}.dump() + "\n");
  }

 private:
  std::vector<OrderedJson> layers_;
};

void Logits(const LogitsOptions& options) {
  ModelSession session(options.model, options.has_ids ? TextNeed::kNone : TextNeed::kTokens,
                       options.shared, options.run);
  const auto ids = options.has_ids ? ParseIds(options.ids) : session.EncodePrompt(options.prompt);
  if (ids.empty()) throw Error("there is no token but must be at least one");
  if (std::ssize(ids) > session.context_length()) {
    throw Error("there are {} tokens but the context is {}", ids.size(), session.context_length());
  }
  RoutingFile routing(session.config().num_layers);
  const RoutingObserver observer = [&](int64_t layer, const Routing& chosen) {
    routing.Observe(layer, chosen);
  };
  RunNeeds needs = session.OneSequence(std::ssize(ids), std::ssize(ids));
  needs.logit_rows = std::ssize(ids);
  if (!options.routing.empty())
    needs.other_bytes += RoutingFile::Bytes(session.config(), ids.size());
  session.Fit(needs);
  Buffer<float> logits(std::ssize(ids) * session.config().vocab_size);
  const Mat<float> rows = logits.AsMat(std::ssize(ids), session.config().vocab_size);
  Sequence sequence(session.model(), session.experts(), session.device(), options.run.Sequence());
  sequence.Append(ids, rows, {.observer = options.routing.empty() ? nullptr : &observer});
  WriteNpy(options.out, rows);
  if (!options.routing.empty()) routing.Save(options.routing);
  if (session.has_budget()) LogFetching(session.experts().stats());
  if (options.json) return PrintJson({{"tokens", ids.size()}, {"ids", ids}, {"out", options.out}});
  Print(fmt::format("{}: float32 [{}, {}]\n", options.out, rows.rows, rows.cols));
}

}  // namespace

void AddLogitsCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("logits", "Compute the logits after every token, exactly");
  command->footer(
      "Example: cadre logits nano --ids \"1 2 3\" --out logits.npy --routing routing.json\n"
      "With --ids no tokenizer files are needed.");
  auto options = std::make_shared<LogitsOptions>();
  AddModel(*command, options->model);
  auto* input = command->add_option_group("input", "One of");
  auto* ids = input->add_option("--ids", options->ids, "Token ids: \"1 2 3\"");
  input->add_option("-p,--prompt", options->prompt, "A text; BOS goes before it");
  input->require_option(1);
  command->add_option("--out", options->out, "The .npy file to write: float32 [tokens, vocab]")
      ->required();
  command->add_option("--routing", options->routing,
                      "A JSON file to write: experts, gates and probabilities per layer");
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options, ids] {
    options->has_ids = ids->count() > 0;
    Logits(*options);
  });
}

}  // namespace cadre
