#include "quantize/convert.h"

#include <algorithm>
#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/folders.h"
#include "engine/open.h"
#include "engine/save_text.h"
#include "model/load.h"
#include "quantize/budget.h"
#include "quantize/importance.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

// What stands beside the weights in a model folder and is as good beside others.
constexpr const char* kNeighbours[] = {
    "tokenizer.model",         "tokenizer.model.v1", "tokenizer.model.v2",
    "tokenizer.model.v3",      "tokenizer.json",     "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json",  "generation_config.json",
    "chat_template.jinja",     "chat_template.json"};

bool IsFloat(DType type) { return !IsQuantised(type); }

// Norms and routers: no type that the user chooses is one for these.
bool IsSmall(const PlannedTensor& tensor) {
  return tensor.role == TensorRole::kNorm || tensor.role == TensorRole::kRouter;
}

// What the user calls the types to be written; empty: as they are stored.
std::string_view TypeName(const ConvertOptions& options) {
  if (options.budget_bytes > 0) return "types for a budget";
  if (options.mix != nullptr) return options.mix->name;
  return options.type ? Info(*options.type).name : "";
}

void CheckTypes(const ConvertOptions& options) {
  const bool quantises = options.budget_bytes > 0 || options.mix != nullptr ||
                         (options.type && !IsFloat(*options.type));
  if (quantises && options.layout.names != TensorLayout::kGguf) {
    throw Error("safetensors files hold F32, F16 and BF16, not {}; write a .gguf file for that",
                TypeName(options));
  }
}

// The type to store a tensor as, in the words of the options.
DType TypeOf(const PlannedTensor& tensor, const ModelConfig& config,
             const ConvertOptions& options) {
  const TensorLayout names = options.layout.names;
  if (options.mix != nullptr) {
    const DType base = options.mix->base;
    const DType wanted =
        IsSmall(tensor) ? base : TypeInMix(*options.mix, tensor.role, tensor.layer, config);
    return UniformType(tensor, wanted, names);
  }
  if (options.type) return UniformType(tensor, *options.type, names);
  const bool gguf = names == TensorLayout::kGguf;
  const DType stored = StoredType(tensor);
  if (IsSmall(tensor)) return gguf ? DType::kF32 : stored;
  if (!gguf && !IsFloat(stored)) {
    throw Error("tensor {} is stored as {}, which safetensors files do not hold; choose a --type",
                tensor.name, Info(stored).name);
  }
  return stored;
}

// The norms of a model are float32 in memory whatever they were in the file; beside 16-bit matrices
// they go back to that where it holds them exactly.
std::optional<DType> FloatTypeOfMatrices(const Model& model) {
  const DType type = model.weights.layers[0].wq.type;
  return IsFloat(type) ? std::optional(type) : std::nullopt;
}

SaveOptions SaveOptionsOf(const Model& model, const Importance& importance,
                          const ConvertOptions& options) {
  const auto norms = FloatTypeOfMatrices(model);
  const ModelConfig& config = model.config;
  const bool as_stored = TypeName(options).empty() && options.layout.names != TensorLayout::kGguf;
  return {.layout = options.layout,
          .type_of =
              [=, &config](const PlannedTensor& tensor) {
                if (as_stored && tensor.role == TensorRole::kNorm && norms)
                  return UniformType(tensor, *norms, options.layout.names);
                return TypeOf(tensor, config, options);
              },
          .importance_of = [&](const Weight& w) { return importance.Of(w); },
          .gguf_file_type =
              options.mix != nullptr ? std::optional(options.mix->file_type) : std::nullopt,
          .shard_bytes = options.shard_bytes,
          .work = {},
          .weights_are_mapped = true,
          .on_progress = options.on_progress};
}

// To be raised when a conversion writes other bytes than before from the same source.
constexpr int kConversionVersion = 2;

// What must be the same for a stopped conversion to be gone on with.
std::string WorkOf(const Checkpoint& checkpoint, const ConvertOptions& options) {
  std::vector<std::string> files = checkpoint.files();
  if (checkpoint.kind() != CheckpointKind::kGguf) files.push_back(checkpoint.config_file());
  if (!options.imatrix.empty()) files.push_back(options.imatrix);
  if (!options.lora.empty()) {
    for (const auto& name : {kAdapterConfigName, kAdapterWeightsName})
      files.push_back((fs::path(options.lora) / name).string());
  }
  std::string work = fmt::format("conversion {}: {} {} {} {} {} {}\n", kConversionVersion,
                                 options.mix != nullptr ? "mix" : "pure", TypeName(options),
                                 options.budget_bytes, static_cast<int>(options.layout.names),
                                 static_cast<int>(options.layout.experts), options.shard_bytes);
  for (const auto& file : files) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error).time_since_epoch().count();
    work +=
        fmt::format("{} {} {}\n", fs::absolute(file).string(), fs::file_size(file, error), time);
  }
  return work;
}

// Refuses a destination that would overwrite what is being read, or cannot be one.
void CheckDestination(const Checkpoint& checkpoint, const std::string& destination, bool is_file,
                      const std::vector<std::string>& planned) {
  std::error_code ignored;
  if (is_file && fs::is_directory(destination, ignored))
    throw Error("{}: is a folder, but a GGUF model is a file; name one in it", destination);
  if (!is_file && fs::exists(destination, ignored) && !fs::is_directory(destination, ignored))
    throw Error("{}: is a file, but this layout is a folder", destination);
  const auto refuse = [&] {
    throw Error("{}: is what is being converted; choose another place", destination);
  };
  for (const auto& file : checkpoint.files()) {
    const fs::path folder = fs::absolute(fs::path(file)).parent_path();
    if (!is_file && fs::equivalent(folder, destination, ignored)) refuse();
    for (const auto& path : planned)
      if (fs::equivalent(file, path, ignored)) refuse();
  }
}

uint64_t KeptBytes(const std::vector<std::string>& planned) {
  uint64_t bytes = 0;
  for (const auto& path : planned) bytes += BytesOnDisk(path + ".partial");
  return bytes;
}

// The tokenizer that goes along, if it belongs to the model.
std::optional<TextSource> TextOf(const LoadedModel& loaded, std::vector<std::string>& warnings) {
  try {
    auto text = FindText(loaded.checkpoint());
    if (!text) warnings.push_back("there is no tokenizer beside the weights to go along");
    if (text) CheckVocabulary(*text, loaded.model().config);
    return text;
  } catch (const Error& error) {
    warnings.push_back(fmt::format("the tokenizer is not usable: {}", error.what()));
    return std::nullopt;
  }
}

// Tokenizer metadata of a GGUF source goes along as it is; that of a folder is translated.
void SetText(const Checkpoint& checkpoint, const std::optional<TextSource>& text,
             int64_t vocab_size, GgufWriter& writer) {
  if (checkpoint.gguf() != nullptr && checkpoint.gguf()->Has("tokenizer.ggml.model")) {
    for (const auto& entry : checkpoint.gguf()->entries()) {
      if (entry.key.starts_with("tokenizer.")) writer.Copy(entry);
    }
  } else if (text) {
    // Other readers size the embedding by the list of pieces.
    Vocabulary vocabulary = text->vocabulary;
    while (vocabulary.size() < vocab_size) {
      vocabulary.pieces.push_back(
          {fmt::format("[PAD{}]", vocabulary.size()), -10000, PieceType::kUnused});
    }
    SetTextMetadata(vocabulary, text->chat_template, writer);
  }
}

void SaveText(const Checkpoint& checkpoint, const std::optional<TextSource>& text,
              const fs::path& folder) {
  bool copied = false;
  for (const char* name : kNeighbours) {
    const fs::path from = fs::path(checkpoint.folder()) / name;
    std::error_code ignored;
    if (checkpoint.gguf() != nullptr || !fs::exists(from, ignored)) continue;
    WriteFileAtomically((folder / name).string(), MappedFile(from.string()).text());
    copied = copied || std::string_view(name).starts_with("tokenizer.");
  }
  if (!copied && text) SaveTextFiles(text->vocabulary, text->chat_template, folder.string());
}

std::string NameOf(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) {
    auto name = checkpoint.gguf()->GetString("general.name", "");
    if (!name.empty()) return name;
  }
  const fs::path folder = fs::absolute(checkpoint.folder()).lexically_normal();
  return folder.has_filename() ? folder.filename().string()
                               : folder.parent_path().filename().string();
}

// The types for options.budget_bytes, of which the file's own tables take `overhead`.
BudgetPlan ChooseTypes(const Model& model, const Importance& importance,
                       const ConvertOptions& options, const SaveOptions& save, uint64_t overhead,
                       ThreadPool& threads) {
  auto plan = PlanTensors(model, options.layout);
  for (auto& tensor : plan) tensor.type = save.type_of(tensor);
  const uint64_t budget = options.budget_bytes;
  try {
    return PlanForBudget(plan, importance, budget > overhead ? budget - overhead : 0, threads,
                         options.on_choosing);
  } catch (const Error& error) {
    throw Error("a budget of {} bytes is too small: {}", budget, error.what());
  }
}

}  // namespace

Conversion Convert(const std::string& source, const std::string& destination,
                   const ConvertOptions& options, ThreadPool& threads) {
  LoadedModel loaded = LoadedModel::Load(source);
  if (!options.lora.empty()) loaded.AddAdapters(options.lora);
  const Checkpoint& checkpoint = loaded.checkpoint();
  Conversion conversion;
  conversion.warnings = loaded.warnings();
  const auto text = TextOf(loaded, conversion.warnings);
  CheckTypes(options);
  CADRE_CHECK(options.budget_bytes == 0 || (!options.imatrix.empty() && options.shard_bytes == 0));
  Importance importance;
  if (!options.imatrix.empty()) {
    importance = Importance(loaded.model(), ReadImportanceMatrix(options.imatrix), options.imatrix);
    for (const auto& warning : importance.warnings()) conversion.warnings.push_back(warning);
  }
  SaveOptions save = SaveOptionsOf(loaded.model(), importance, options);
  save.work = WorkOf(checkpoint, options);
  const auto set_text = [&](GgufWriter& writer) {
    SetText(checkpoint, text, loaded.model().config.vocab_size, writer);
  };
  const PlannedFiles planned = PlanFiles(loaded.model(), save, destination);
  const bool gguf = options.layout.names == TensorLayout::kGguf;
  CheckDestination(checkpoint, destination, gguf, planned.paths);
  const fs::path parent = fs::path(destination).parent_path();
  const fs::path folder = !gguf ? fs::path(destination) : parent.empty() ? fs::path(".") : parent;
  CreateFolders(folder.string());
  if (options.budget_bytes > 0) {
    const auto budget = ChooseTypes(
        loaded.model(), importance, options, save,
        GgufOverheadBytes(loaded.model(), save, set_text, NameOf(checkpoint), destination),
        threads);
    conversion.expected_kl = budget.expected_kl;
    save.type_of = [types = budget.types](const PlannedTensor& tensor) {
      return types.at(tensor.name);
    };
  }
  const uint64_t bytes = PlanFiles(loaded.model(), save, destination).bytes;
  const uint64_t kept = KeptBytes(planned.paths);
  CheckRoom(folder.string(), bytes > kept ? bytes - kept : 0);

  if (gguf) {
    conversion.summary =
        SaveGguf(loaded.model(), save, threads, set_text, NameOf(checkpoint), destination);
  } else {
    conversion.summary = SaveSafetensors(loaded.model(), save, threads, folder.string());
    SaveText(checkpoint, text, folder);
  }
  return conversion;
}

}  // namespace cadre
