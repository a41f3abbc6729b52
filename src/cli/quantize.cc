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
  std::string layout;   // empty: by the destination's name
  std::string experts;  // empty: what the layout usually has
  uint64_t shard_bytes = 0;
  bool json = false;
};

std::string TypeNames() {
  std::string names = "same";
  for (const auto& info : AllDTypes()) {
    std::string name(info.name);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    names += ", " + name;
  }
  return names;
}

FileLayout LayoutOf(const QuantizeOptions& options) {
  FileLayout layout;
  const std::string name = !options.layout.empty()                  ? options.layout
                           : options.destination.ends_with(".gguf") ? "gguf"
                                                                    : "hf";
  layout.names = name == "gguf"      ? TensorLayout::kGguf
                 : name == "mistral" ? TensorLayout::kMistral
                                     : TensorLayout::kHuggingFace;
  const std::string experts = !options.experts.empty() ? options.experts
                              : name == "gguf"         ? "merged"
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
          {"warnings", conversion.warnings}};
}

void Quantize(const QuantizeOptions& options) {
  log::Start(options.shared.log_level);
  ConvertOptions convert{
      .type = {}, .layout = LayoutOf(options), .shard_bytes = options.shard_bytes};
  if (options.type != "same") {
    convert.type = DTypeFromName(options.type);
    if (!convert.type) {
      throw CLI::ValidationError("--type",
                                 fmt::format("{} is none of {}", options.type, TypeNames()));
    }
  }
  std::unique_ptr<Progress> progress;
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
      "Example: cadre quantize ./Mixtral-8x7B-Instruct-v0.1 mixtral.gguf --type q4_k\n"
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
                   "Type of the matrices; same: as they are stored. One of " + TypeNames())
      ->capture_default_str();
  command
      ->add_option("--layout", options->layout,
                   "gguf, hf (Hugging Face) or mistral; default: gguf for DST.gguf, else hf")
      ->check(CLI::IsMember({"gguf", "hf", "mistral"}));
  command
      ->add_option("--experts", options->experts,
                   "How experts lie in the file: merged (GGUF's default), separate (elsewhere), "
                   "fused (gate and up in one)")
      ->check(CLI::IsMember({"merged", "separate", "fused"}));
  command
      ->add_option("--shard", options->shard_bytes,
                   "Most bytes of one file, such as 5G; default: one file")
      ->transform(CLI::AsSizeValue(true));
  AddJson(*command, options->json);
  AddSharedOptions(*command, options->shared);
  command->remove_option(command->get_option("--seed"));
  command->remove_option(command->get_option("--isa"));
  command->callback([options] { Quantize(*options); });
}

}  // namespace cadre
