// cadre study: what the experts of a model do with texts of several domains, as a report.
#include "study/study.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/folders.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/session.h"
#include "study/agreement.h"
#include "study/bootstrap.h"
#include "study/page.h"
#include "study/repeats.h"
#include "study/study_text.h"
#include "study/tracer.h"

namespace cadre {
namespace {

struct StudyCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model;
  std::string against;
  std::vector<std::string> data;
  std::string out;
  int64_t tokens = 20'000;
  bool json = false;
};

// The routers' weights, layer by layer, as they lie in the file: tells one model from another
// without reading all of it.
std::string RouterDigest(const Model& model) {
  std::vector<std::byte> bytes;
  for (const auto& layer : model.weights.layers) {
    const auto* data = static_cast<const std::byte*>(layer.router.data);
    bytes.insert(bytes.end(), data, data + layer.router.bytes());
  }
  return Sha256(bytes);
}

OrderedJson ModelJson(const std::string& path, const Model& model) {
  const ModelConfig& config = model.config;
  return {
      {"name", std::filesystem::path(ResolveModel(path)).filename().string()},
      {"architecture", config.architecture},
      {"layers", config.num_layers},
      {"dim", config.dim},
      {"experts", config.router.num_experts},
      {"experts_per_token", config.router.top_k},
      {"vocab", config.vocab_size},
      {"parameters", {{"total", config.TotalParameters()}, {"active", config.ActiveParameters()}}},
      {"routers_sha256", RouterDigest(model)}};
}

OrderedJson DataJson(const std::vector<DomainFiles>& domains) {
  OrderedJson list = OrderedJson::array();
  for (const auto& domain : domains) {
    for (const auto& file : domain.files) {
      list.push_back({{"domain", domain.name},
                      {"file", std::filesystem::path(file).filename().string()},
                      {"sha256", Sha256(MappedFile(file).bytes())}});
    }
  }
  return list;
}

// Runs the texts; Ctrl-C is an Error.
void Trace(const std::string& name, const Model& model, ExpertSource& experts, Device& device,
           const StudyCommand& command, int32_t bos_id, RoutingTrace& trace) {
  const Interrupt interrupt;
  std::optional<Progress> progress;
  const TraceOptions options{.bos_id = bos_id,
                             .on_progress =
                                 [&](int64_t done, int64_t total) {
                                   if (!progress) progress.emplace(name, total);
                                   progress->Update(done);
                                 },
                             .cancelled = &Interrupt::flag()};
  if (!TraceRouting(model, experts, device, command.run.Sequence(), options, trace))
    throw Error("{}: stopped", name);
}

// The same texts through the other model.
RoutingTrace TraceOther(const StudyCommand& command, const ModelSession& session, Device& device,
                        int32_t bos_id, const RoutingTrace& trace, OrderedJson& report) {
  const OpenedModel other = OpenModel(ResolveModel(command.against), TextNeed::kNone);
  for (const auto& warning : other.warnings) log::warn("{}", warning);
  const Model& model = other.model.model();
  if (model.config.vocab_size != session.config().vocab_size) {
    throw Error("{}: the vocabulary has {} rows but that of {} has {}", command.against,
                model.config.vocab_size, command.model, session.config().vocab_size);
  }
  report["against"] = ModelJson(command.against, model);
  RoutingTrace copy = trace;
  ResidentExperts experts(model.weights);
  Trace(command.against, model, experts, device, command, bos_id, copy);
  CheckComparable(trace, copy, command.against);
  return copy;
}

int64_t WindowOf(const StudyCommand& command, const ModelSession& session) {
  constexpr int64_t kDefaultWindow = 2048;
  if (command.run.context > 0) return command.run.context;
  return std::min(session.context_length(), kDefaultWindow);
}

OrderedJson SetupJson(const StudyCommand& command, int64_t window, bool bos,
                      const std::vector<DomainFiles>& domains) {
  return {{"window_tokens", window},
          {"bos", bos},
          {"tokens_wanted_per_domain", command.tokens},
          {"kv", command.run.kv},
          {"activations", command.run.activations},
          {"seed", command.shared.seed},
          {"bootstrap_resamples", DocumentBootstrap::kResamples},
          {"shuffles", DomainRepeats::kShuffles},
          {"data", DataJson(domains)}};
}

void WarnOfFewDocuments(const RoutingTrace& trace, int64_t wanted) {
  constexpr int64_t kFewDocuments = 5;
  for (const auto& domain : trace.domains) {
    if (domain.num_documents < kFewDocuments) {
      log::warn("{} has {} documents: intervals over so few say little, and none over one",
                domain.name, domain.num_documents);
    }
    if (domain.tokens() < wanted)
      log::warn("{} has {} tokens, less than {}", domain.name, domain.tokens(), wanted);
  }
}

std::string Summary(const OrderedJson& report, const std::string& page) {
  std::string text =
      "layer  expert given: domain    token   domain & token known   same first  by chance\n";
  for (const auto& layer : report["layers"]) {
    double first = 0, marginal = 0;
    for (const auto& domain : layer["domains"]) {
      const auto share = 1 / static_cast<double>(layer["domains"].size());
      first += domain["repeats"]["first"]["share"].get<double>() * share;
      marginal += domain["repeats"]["first"]["marginal"].get<double>() * share;
    }
    const auto bits = [&](const char* what) { return layer["topic"][what]["bits"].get<double>(); };
    text += fmt::format("{:>5}  {:>16.4f} b {:>7.3f} b {:>18.4f} b {:>10.1f} % {:>8.1f} %\n",
                        layer["layer"].get<int64_t>(), bits("domain"), bits("token"),
                        bits("domain_given_token"), 100 * first, 100 * marginal);
  }
  return text + page + "\n";
}

void Run(const StudyCommand& command) {
  const std::vector<DomainFiles> files = FindDomains(command.data);
  ModelSession session(command.model, TextNeed::kTokens, command.shared, command.run);
  const auto& vocabulary = session.tokenizer().vocabulary();
  const int32_t bos_id = vocabulary.add_bos ? vocabulary.bos_id : -1;
  const int64_t window = WindowOf(command, session);
  RoutingTrace trace = ReadStudyText(files, session.tokenizer(), command.tokens,
                                     std::max<int64_t>(1, window - (bos_id >= 0 ? 1 : 0)));
  WarnOfFewDocuments(trace, command.tokens);
  CreateFolders(command.out);
  Trace(command.model, session.model(), session.experts(), session.device(), command, bos_id,
        trace);

  OrderedJson report = {{"report", "cadre study"},
                        {"model", ModelJson(command.model, session.model())},
                        {"against", nullptr},
                        {"setup", SetupJson(command, window, bos_id >= 0, files)}};
  std::optional<RoutingTrace> other;
  if (!command.against.empty())
    other = TraceOther(command, session, session.device(), bos_id, trace, report);
  report.update(StudyFigures({.trace = &trace,
                              .other = other ? &*other : nullptr,
                              .tokenizer = &session.tokenizer(),
                              .seed = command.shared.seed},
                             session.device().threads()));
  const std::string figures = command.out + "/report.json", page = command.out + "/report.html";
  WriteFileAtomically(figures,
                      report.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
  WriteFileAtomically(page, StudyPage(report));
  if (command.json)
    return PrintJson({{"report", figures}, {"page", page}, {"layers", report["layers"]}});
  Print(Summary(report, page));
}

}  // namespace

void AddStudyCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "study", "Study what a model's experts do with texts of several domains or languages");
  command->footer(
      "Writes report.json and report.html, one page that needs nothing else: loads, topics, "
      "repeats "
      "of neighbours,\ncaches, what later routers can be asked early, kinds of tokens, typical "
      "tokens, text in the colours of its\nexperts; each beside what chance gives, with 95 % "
      "intervals over documents.\n"
      "Texts are cut into windows of --context tokens (default: the model's, at most 2048).\n"
      "Example: cadre study nano --data en=en.jsonl --data code=sources/ --out study\n"
      "         cadre study mixtral.gguf --data texts/ --against mixtral-q4_k.gguf --out study");
  auto options = std::make_shared<StudyCommand>();
  options->run.kv = "f32";
  AddModel(*command, options->model);
  command
      ->add_option(
          "--data,--text", options->data,
          "NAME=PATH: a domain and its file (.txt, .jsonl, with .zst or .gz behind it or not) or "
          "folder of files; again for the next. Without a name: that of the file, in a "
          "folder one for each file")
      ->required();
  command->add_option("--out", options->out, "The folder for report.json and report.html")
      ->required();
  command
      ->add_option("--tokens", options->tokens,
                   "About how many tokens of each domain: the first window of every document, then "
                   "the second")
      ->check(AtLeast(2))
      ->capture_default_str();
  command->add_option(
      "--against", options->against,
      "A model to compare with, such as its quantisation, or what it was tuned from: "
      "how often the routers agree, by layer and domain");
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Run(*options); });
}

}  // namespace cadre
