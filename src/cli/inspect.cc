// cadre inspect: what a model is, from its headers alone. Touches no weights, so 90 GB take no
// longer than 90 MB; also lists models that hold types Cadre cannot compute with.
#include <map>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "engine/open.h"
#include "model/config_files.h"

namespace cadre {
namespace {

struct InspectOptions {
  SharedOptions shared;
  std::string model;
  bool json = false;
};

struct TypeCount {
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

struct Inspection {
  std::string path;
  ModelConfig config;
  CheckpointKind kind = CheckpointKind::kHuggingFace;
  uint64_t bytes = 0;
  std::map<std::string, TypeCount> types;
  std::string tokenizer_file;  // empty: none
  int64_t pieces = 0;
  std::vector<std::string> warnings;
};

// Whether the model can be run: a warning when not, since to look at it is still possible.
void TryLoad(const std::string& path, Inspection& found) {
  try {
    const auto loaded = LoadedModel::Load(path);
    found.warnings = loaded.warnings();
  } catch (const Error& error) {
    found.warnings = SuspiciousSettings(found.config);
    found.warnings.push_back(fmt::format("Cadre cannot run this model: {}", error.what()));
  }
}

void TryText(const Checkpoint& checkpoint, Inspection& found) {
  try {
    const auto text = FindText(checkpoint);
    if (!text) {
      found.warnings.push_back(
          "there is no tokenizer beside the weights: only token ids can be used");
      return;
    }
    found.tokenizer_file = text->file;
    found.pieces = text->vocabulary.size();
    for (auto& warning : CheckVocabulary(*text, found.config))
      found.warnings.push_back(std::move(warning));
  } catch (const Error& error) {
    found.warnings.push_back(fmt::format("the tokenizer cannot be used: {}", error.what()));
  }
}

Inspection Look(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::Open(path);
  Inspection found;
  found.path = path;
  found.config = ConfigOf(checkpoint);
  found.kind = checkpoint.kind();
  found.bytes = checkpoint.bytes();
  for (const auto& tensor : checkpoint.Tensors()) {
    TypeCount& type = found.types[tensor.type_name];
    ++type.tensors;
    type.bytes += tensor.data.size();
  }
  TryLoad(path, found);
  TryText(checkpoint, found);
  return found;
}

std::string_view FormatName(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kHuggingFace:
      return "safetensors";
    case CheckpointKind::kMistral:
      return "mistral";
    case CheckpointKind::kGguf:
      return "gguf";
  }
  return "";
}

OrderedJson ToJson(const Inspection& found) {
  const ModelConfig& c = found.config;
  OrderedJson types = OrderedJson::object();
  for (const auto& [name, type] : found.types)
    types[name] = {{"tensors", type.tensors}, {"bytes", type.bytes}};
  return {{"architecture", c.architecture},
          {"format", FormatName(found.kind)},
          {"layers", c.num_layers},
          {"dim", c.dim},
          {"hidden_dim", c.hidden_dim},
          {"heads", c.num_heads},
          {"kv_heads", c.num_kv_heads},
          {"head_dim", c.head_dim},
          {"experts", c.router.num_experts},
          {"experts_per_token", c.router.top_k},
          {"norm_topk_prob", !c.router.unnormalised()},
          {"vocab", c.vocab_size},
          {"context", c.context_length},
          {"sliding_window", c.sliding_window},
          {"rope_theta", c.rope_theta},
          {"parameters", {{"total", c.TotalParameters()}, {"active", c.ActiveParameters()}}},
          {"bytes", found.bytes},
          {"kv_bytes_per_token_f16", c.kv_shape(KvType::kF16).page_bytes() / kKvBlock},
          {"types", types},
          {"tokenizer_pieces", found.pieces},
          {"warnings", found.warnings}};
}

// "46,702,792,704"
std::string Grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto place = std::ssize(digits) - 3; place > 0; place -= 3)
    digits.insert(static_cast<size_t>(place), ",");
  return digits;
}

// "46.7B"
std::string Rounded(int64_t number) {
  const auto value = static_cast<double>(number);
  if (value >= 1e9) return fmt::format("{:.1f}B", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f}M", value / 1e6);
  return fmt::format("{:.1f}K", value / 1e3);
}

std::string ToTable(const Inspection& found, bool colour) {
  const ModelConfig& c = found.config;
  std::string table;
  const auto row = [&](std::string_view name, const std::string& value) {
    table += fmt::format("{}  {}\n", Styled(fmt::format("{:<12}", name), "1", colour), value);
  };
  row("model", Printable(found.path, 200));
  row("architecture", fmt::format("{}, {}", c.architecture, FormatName(found.kind)));
  row("parameters", fmt::format("{} ({}), {} ({}) active per token", Rounded(c.TotalParameters()),
                                Grouped(c.TotalParameters()), Rounded(c.ActiveParameters()),
                                Grouped(c.ActiveParameters())));
  row("layers", fmt::format("{} of dim {}", c.num_layers, c.dim));
  row("attention",
      fmt::format("{} heads of {}, {} for keys and values{}", c.num_heads, c.head_dim,
                  c.num_kv_heads,
                  c.sliding_window > 0 ? fmt::format(", window {}", c.sliding_window) : ""));
  row("experts",
      c.router.dense()
          ? fmt::format("none (dense), hidden {}", c.hidden_dim)
          : fmt::format(
                "{}, {} per token, hidden {}{}", c.router.num_experts, c.router.top_k, c.hidden_dim,
                c.router.unnormalised() ? "; gates are shares of the softmax over all" : ""));
  row("vocabulary", found.tokenizer_file.empty()
                        ? fmt::format("{} rows, no tokenizer", c.vocab_size)
                        : fmt::format("{} rows, {} pieces in {}", c.vocab_size, found.pieces,
                                      Printable(found.tokenizer_file, 200)));
  row("context", fmt::format("{} tokens, {} of f16 keys and values each", c.context_length,
                             ShortBytes(static_cast<double>(c.kv_shape(KvType::kF16).page_bytes()) /
                                        kKvBlock)));
  row("rope theta", fmt::format("{}", c.rope_theta));
  row("files", fmt::format("{} ({} bytes)", ShortBytes(static_cast<double>(found.bytes)),
                           Grouped(static_cast<int64_t>(found.bytes))));
  for (const auto& [name, type] : found.types) {
    row(&type == &found.types.begin()->second ? "types" : "",
        fmt::format("{:<8} {:>5} tensors  {:>9}", name, type.tensors,
                    ShortBytes(static_cast<double>(type.bytes))));
  }
  return table;
}

void Inspect(const InspectOptions& options) {
  log::Start(options.shared.log_level);
  const Inspection found = Look(ResolveModel(options.model));
  if (options.json) {
    PrintJson(ToJson(found));
  } else {
    PrintStyled(ToTable(found, UsesColour()));
  }
  for (const auto& warning : found.warnings) log::warn("{}", warning);
}

}  // namespace

void AddInspectCommand(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a model is, without reading its weights");
  command->footer(
      "Example: cadre inspect nano\n         cadre inspect ./Mixtral-8x7B-Instruct-v0.1 --json");
  auto options = std::make_shared<InspectOptions>();
  AddModel(*command, options->model);
  AddJson(*command, options->json);
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Inspect(*options); });
}

}  // namespace cadre
