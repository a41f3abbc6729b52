#include "quantize/convert.h"

#include <algorithm>
#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "engine/open.h"
#include "engine/save_text.h"
#include "model/load.h"

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

// The type to store a tensor as, in the words of the options.
DType TypeOf(const PlannedTensor& tensor, const ConvertOptions& options) {
  const bool gguf = options.layout.names == TensorLayout::kGguf;
  if (options.type && !gguf && !IsFloat(*options.type)) {
    throw Error("safetensors files hold F32, F16 and BF16, not {}; write a .gguf file for that",
                Info(*options.type).name);
  }
  if (options.type) return UniformType(tensor, *options.type, options.layout.names);
  const DType stored = StoredType(tensor);
  if (tensor.role == TensorRole::kNorm || tensor.role == TensorRole::kRouter)
    return gguf ? DType::kF32 : stored;
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

SaveOptions SaveOptionsOf(const Model& model, const ConvertOptions& options) {
  const auto norms = FloatTypeOfMatrices(model);
  return {.layout = options.layout,
          .type_of =
              [=](const PlannedTensor& tensor) {
                const bool as_stored = !options.type && options.layout.names != TensorLayout::kGguf;
                if (as_stored && tensor.role == TensorRole::kNorm && norms)
                  return UniformType(tensor, *norms, options.layout.names);
                return TypeOf(tensor, options);
              },
          .shard_bytes = options.shard_bytes,
          .unfinished = Unfinished::kKeep,
          .resume = false,
          .weights_are_mapped = true,
          .on_progress = options.on_progress};
}

// What must be the same for a stopped conversion to be gone on with.
std::string Fingerprint(const Checkpoint& checkpoint, const ConvertOptions& options) {
  OrderedJson json;
  for (const auto& file : checkpoint.files()) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error).time_since_epoch().count();
    json["source"].push_back({fs::absolute(file).string(), fs::file_size(file, error), time});
  }
  json["type"] = options.type ? std::string(Info(*options.type).name) : "as stored";
  json["layout"] = {static_cast<int>(options.layout.names),
                    static_cast<int>(options.layout.experts)};
  json["shard_bytes"] = options.shard_bytes;
  return json.dump(2) + "\n";
}

// Refuses a destination that would overwrite what is being read.
void CheckDestination(const Checkpoint& checkpoint, const std::string& destination, bool is_file) {
  std::error_code ignored;
  for (const auto& file : checkpoint.files()) {
    const bool same =
        fs::equivalent(is_file ? fs::path(file) : fs::absolute(fs::path(file)).parent_path(),
                       destination, ignored);
    if (same) throw Error("{}: is what is being converted; choose another place", destination);
  }
}

void CheckRoom(const fs::path& folder, uint64_t needed_bytes) {
  std::error_code error;
  const auto space = fs::space(folder, error);
  if (!error && space.available < needed_bytes) {
    throw Error("{}: {} are free but {} are needed", folder.string(),
                ShortBytes(static_cast<double>(space.available)),
                ShortBytes(static_cast<double>(needed_bytes)));
  }
}

uint64_t KeptBytes(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().extension() == ".partial") bytes += entry->file_size(error);
  }
  return bytes;
}

// Tokenizer metadata of a GGUF source goes along as it is; that of a folder is translated.
void SetText(const Checkpoint& checkpoint, const std::optional<TextSource>& text,
             GgufWriter& writer) {
  if (checkpoint.gguf() != nullptr && checkpoint.gguf()->Has("tokenizer.ggml.model")) {
    for (const auto& entry : checkpoint.gguf()->entries()) {
      if (entry.key.starts_with("tokenizer.")) writer.Copy(entry);
    }
  } else if (text) {
    SetTextMetadata(text->vocabulary, text->chat_template, writer);
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
    const auto name = checkpoint.gguf()->GetString("general.name", "");
    if (!name.empty()) return name;
  }
  const fs::path folder = fs::absolute(checkpoint.folder()).lexically_normal();
  return folder.has_filename() ? folder.filename().string()
                               : folder.parent_path().filename().string();
}

}  // namespace

Conversion Convert(const std::string& source, const std::string& destination,
                   const ConvertOptions& options, ThreadPool& threads) {
  const LoadedModel loaded = LoadedModel::Load(source);
  const Checkpoint& checkpoint = loaded.checkpoint();
  Conversion conversion{{}, loaded.warnings()};
  std::optional<TextSource> text;
  try {
    text = FindText(checkpoint);
  } catch (const Error& error) {
    conversion.warnings.push_back(fmt::format("the tokenizer does not go along: {}", error.what()));
  }
  const bool gguf = options.layout.names == TensorLayout::kGguf;
  CheckDestination(checkpoint, destination, gguf);
  const fs::path parent = fs::path(destination).parent_path();
  const fs::path folder = !gguf ? fs::path(destination) : parent.empty() ? fs::path(".") : parent;
  SaveOptions save = SaveOptionsOf(loaded.model(), options);
  const uint64_t needed = PlannedBytes(loaded.model(), save);
  fs::create_directories(folder);

  const std::string note = gguf ? destination + ".conversion" : (folder / ".conversion").string();
  const std::string fingerprint = Fingerprint(checkpoint, options);
  std::error_code ignored;
  save.resume = fs::exists(note, ignored) && MappedFile(note).text() == fingerprint;
  const uint64_t kept = save.resume ? KeptBytes(folder) : 0;
  CheckRoom(folder, needed > kept ? needed - kept : 0);
  if (!save.resume) WriteFileAtomically(note, fingerprint);

  if (gguf) {
    conversion.summary = SaveGguf(
        loaded.model(), save, threads,
        [&](GgufWriter& writer) { SetText(checkpoint, text, writer); }, NameOf(checkpoint),
        destination);
  } else {
    conversion.summary = SaveSafetensors(loaded.model(), save, threads, folder.string());
    SaveText(checkpoint, text, folder);
  }
  fs::remove(note, ignored);
  if (!text) conversion.warnings.push_back("there is no tokenizer beside the weights to go along");
  return conversion;
}

}  // namespace cadre
