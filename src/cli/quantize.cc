// cadre quantize: a model into another file layout, another type, or both.
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "quantize/convert.h"

namespace cadre {
namespace {

struct QuantizeOptions {
  SharedOptions shared;
  std::string source, destination;
  std::string type = "same";
  std::string imatrix;
  std::string lora;
  std::string layout;   // empty: by the destination's name
  std::string experts;  // empty: what the layout usually has
  uint64_t shard_bytes = 0;
  uint64_t budget_bytes = 0;
  bool per_layer = false;
  bool pure = false;
  bool json = false;
};

std::string TypeNames() {
  std::string names = "same";
  const auto add = [&](std::string_view name) {
    names += ", ";
    for (const char c : name)
      names += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  };
  for (const auto& info : AllDTypes())
    if (!IsQuantised(info.type)) add(info.name);
  for (const Mix& mix : AllMixes()) add(mix.name);
  return names;
}

// What --type and --pure ask for.
void SetType(const QuantizeOptions& options, ConvertOptions& convert) {
  if (options.type == "same") return;
  convert.mix = FindMix(options.type);
  if (convert.mix == nullptr) {
    convert.type = DTypeFromName(options.type);
    if (!convert.type) {
      throw CLI::ValidationError("--type",
                                 fmt::format("{} is none of {}", options.type, TypeNames()));
    }
  } else if (options.pure) {
    convert.type = std::exchange(convert.mix, nullptr)->base;
  }
}

FileLayout LayoutOf(const QuantizeOptions& options) {
  FileLayout layout;
  const std::string name = !options.layout.empty()                  ? options.layout
                           : options.destination.ends_with(".gguf") ? "gguf"
                                                                    : "hf";
  layout.names = name == "gguf"      ? TensorLayout::kGguf
                 : name == "mistral" ? TensorLayout::kMistral
                                     : TensorLayout::kHuggingFace;
  const std::string experts = !options.experts.empty()                         ? options.experts
                              : options.budget_bytes > 0 && !options.per_layer ? "separate"
                              : name == "gguf"                                 ? "merged"
                                                                               : "separate";
  layout.experts = experts == "merged"  ? ExpertLayout::kMerged
                   : experts == "fused" ? ExpertLayout::kFused
                                        : ExpertLayout::kSeparate;
  return layout;
}

OrderedJson ToJson(const Conversion& conversion) {
  const SaveSummary& summary = conversion.summary;
  OrderedJson types = OrderedJson::object();
  for (const auto& [type, count] : summary.tensors) types[std::string(Info(type).name)] = count;
  return {{"files", summary.files},
          {"bytes", summary.bytes},
          {"bits_per_weight",
           8.0 * static_cast<double>(summary.bytes) / static_cast<double>(summary.values)},
          {"types", types},
          {"expected_kl",
           conversion.expected_kl > 0 ? OrderedJson(conversion.expected_kl) : OrderedJson()},
          {"warnings", conversion.warnings}};
}

void Quantize(const QuantizeOptions& options) {
  log::Start(options.shared.log_level);
  if (options.per_layer && options.experts == "separate") {
    throw CLI::ValidationError("--per-layer",
                               "keeps a layer's experts together, --experts separate does not");
  }
  ConvertOptions convert{.layout = LayoutOf(options), .shard_bytes = options.shard_bytes};
  SetType(options, convert);
  convert.imatrix = options.imatrix;
  convert.lora = options.lora;
  convert.budget_bytes = options.budget_bytes;
  std::unique_ptr<Progress> choosing, progress;
  convert.on_choosing = [&](int64_t done, int64_t total) {
    if (!choosing) choosing = std::make_unique<Progress>("choosing types", total);
    choosing->Update(done);
    if (done == total) choosing.reset();
  };
  convert.on_progress = [&](uint64_t done, uint64_t total) {
    if (!progress) progress = std::make_unique<Progress>("writing", static_cast<int64_t>(total));
    progress->Update(static_cast<int64_t>(done), ShortBytes(static_cast<double>(done)));
  };
  ThreadPool threads(options.shared.threads);
  const Conversion conversion =
      Convert(ResolveModel(options.source), options.destination, convert, threads);
  progress.reset();
  for (const auto& warning : conversion.warnings) log::warn("{}", warning);
  if (options.json) return PrintJson(ToJson(conversion));
  const SaveSummary& summary = conversion.summary;
  Print(fmt::format(
      "{}{}: {}, {:.2f} bits per weight\n", summary.files[0],
      summary.files.size() > 1 ? fmt::format(" and {} more files", summary.files.size() - 1) : "",
      ShortBytes(static_cast<double>(summary.bytes)),
      8.0 * static_cast<double>(summary.bytes) / static_cast<double>(summary.values)));
}

}  // namespace

void AddQuantizeCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("quantize", "Convert a model to another type or layout");
  command->footer(
      "Goes on where it was stopped when it is called again in the same words.\n"
      "Example: cadre quantize ./Mixtral-8x7B-Instruct-v0.1 mixtral.gguf --type q4_k_m\n"
      "         cadre quantize ./Mixtral-8x7B-v0.1 m.gguf --type q3_k_m --imatrix m.imatrix\n"
      "         cadre quantize ./Mixtral-8x7B-v0.1 m.gguf --budget 16G --imatrix m.imatrix\n"
      "         cadre quantize mixtral.gguf merged --type bf16 --lora runs/sft/adapter\n"
      "         cadre quantize old.gguf new.gguf          (same types, today's tensors)\n"
      "         cadre quantize model.gguf folder --layout mistral --type bf16");
  auto options = std::make_shared<QuantizeOptions>();
  command->add_option("SRC", options->source, "A model folder, a .gguf file, or a bundled model")
      ->required();
  command
      ->add_option("DST", options->destination,
                   "A .gguf file, or a folder for safetensors, made when it is not there")
      ->required();
  command
      ->add_option("--type", options->type,
                   "Type of the matrices; same: as they are stored. One of " + TypeNames() +
                       ". Those that quality hangs on get a better one, as llama.cpp does")
      ->capture_default_str();
  command->add_flag("--pure", options->pure, "No mix: all matrices of the type alone");
  command->add_option("--imatrix", options->imatrix,
                      "An importance matrix (cadre imatrix, or llama.cpp's): errors weigh by it");
  command->add_option("--lora", options->lora,
                      "A folder of low-rank adapters (cadre sft, PEFT) to merge into the matrices");
  command
      ->add_option("--layout", options->layout,
                   "gguf, hf (Hugging Face) or mistral; default: gguf for DST.gguf, else hf")
      ->check(CLI::IsMember({"gguf", "hf", "mistral"}));
  command
      ->add_option("--experts", options->experts,
                   "How experts lie in the file: merged (GGUF's default), separate (elsewhere), "
                   "fused (gate and up in one)")
      ->check(CLI::IsMember({"merged", "separate", "fused"}));
  auto* budget =
      command
          ->add_option(
              "--budget", options->budget_bytes,
              "Most bytes of the file, such as 16G (10^9) or 16Gi (2^30): chooses the type "
              "of every tensor, each expert's apart, so that the model suffers least; "
              "needs --imatrix")
          ->transform(CLI::AsSizeValue(true))
          ->check(MoreThan(0))
          ->needs("--imatrix")
          ->excludes("--type")
          ->excludes("--pure");
  command
      ->add_flag("--per-layer", options->per_layer,
                 "With --budget: one type for all experts of a layer, as other programs need it")
      ->needs(budget);
  command
      ->add_option("--shard", options->shard_bytes,
                   "Most bytes of one file, such as 5G; default: one file")
      ->transform(CLI::AsSizeValue(true))
      ->excludes(budget);
  AddJson(*command, options->json);
  AddSharedOptions(*command, options->shared);
  command->remove_option(command->get_option("--seed"));
  command->remove_option(command->get_option("--isa"));
  command->callback([options] { Quantize(*options); });
}

}  // namespace cadre
