#include "engine/open.h"

#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_json.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSentencePieceFile = "tokenizer.model";
constexpr const char* kJsonFile = "tokenizer.json";
constexpr const char* kTekkenFile = "tekken.json";

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// chat_template of tokenizer_config.json: a string, or a list of {name, template} of which
// "default" counts.
std::string TemplateOf(const Json& config, const std::string& name) {
  const auto found = config.find("chat_template");
  if (found == config.end() || !found->is_array())
    return JsonString(config, "chat_template", "", name);
  for (const auto& entry : *found) {
    if (entry.is_object() && JsonString(entry, "name", "", name) == "default") {
      return JsonString(entry, "template", "", name);
    }
  }
  return "";
}

// Adds what stands in the other files of the folder: whether BOS goes first, and the chat template.
void ReadNeighbours(const fs::path& folder, const std::optional<Json>& config,
                    const std::string& config_file, TextSource& text) {
  if (config) {
    text.vocabulary.add_bos =
        JsonBool(*config, "add_bos_token", text.vocabulary.add_bos, config_file);
    text.vocabulary.add_eos =
        JsonBool(*config, "add_eos_token", text.vocabulary.add_eos, config_file);
    text.chat_template = TemplateOf(*config, config_file);
  }
  const fs::path jinja = folder / "chat_template.jinja";
  if (text.chat_template.empty() && Exists(jinja))
    text.chat_template = MappedFile(jinja.string()).text();
  const fs::path json = folder / "chat_template.json";
  if (text.chat_template.empty() && Exists(json)) {
    const Json holder = ReadJsonFile(json.string());
    if (!holder.is_object()) throw Error("{}: must hold a JSON object", json.string());
    text.chat_template = TemplateOf(holder, json.string());
  }
}

TextSource ReadTokenizerFile(const fs::path& file) {
  const fs::path folder = file.parent_path();
  const fs::path config_file = folder / "tokenizer_config.json";
  std::optional<Json> config;
  if (Exists(config_file)) {
    config = ReadJsonFile(config_file.string());
    if (!config->is_object()) throw Error("{}: must hold a JSON object", config_file.string());
  }
  TextSource text;
  text.file = file.string();
  if (file.extension() == ".json") {
    text.vocabulary =
        ReadTokenizerJson(ReadJsonFile(text.file), config ? &*config : nullptr, text.file);
  } else {
    text.vocabulary = ReadSentencePieceModel(MappedFile(text.file).bytes(), text.file);
  }
  ReadNeighbours(folder, config, config_file.string(), text);
  return text;
}

// "tokenizer.model.v3", "mistral_instruct_tokenizer_240323.model.v3": Mistral's own names.
bool IsVersionedModel(const std::string& name) {
  constexpr size_t kVersion = 9;  // ".model.v3"
  return name.size() > kVersion && name.find("tokenizer") != name.npos && name.back() >= '1' &&
         name.back() <= '9' &&
         std::string_view(name).substr(name.size() - kVersion, kVersion - 1) == ".model.v";
}

std::optional<TextSource> FindInFolder(const fs::path& folder) {
  for (const char* name : {kSentencePieceFile, kJsonFile}) {
    if (Exists(folder / name)) return ReadTokenizerFile(folder / name);
  }
  std::vector<fs::path> versioned;
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored); !ignored && entry != fs::directory_iterator();
       entry.increment(ignored)) {
    if (IsVersionedModel(entry->path().filename().string())) versioned.push_back(entry->path());
  }
  if (versioned.size() > 1) {
    throw Error("{}: holds several tokenizers, as {} and {}, and none called {}", folder.string(),
                versioned[0].filename().string(), versioned[1].filename().string(),
                kSentencePieceFile);
  }
  if (!versioned.empty()) return ReadTokenizerFile(versioned[0]);
  if (Exists(folder / kTekkenFile)) {
    throw Error("{}: has a byte-level tokenizer ({}) but must have a sentencepiece one",
                folder.string(), kTekkenFile);
  }
  return std::nullopt;
}

[[noreturn]] void ThrowNoText(const std::string& path) {
  throw Error("{}: holds no tokenizer: there is no {}, no {} and no GGUF file with one", path,
              kSentencePieceFile, kJsonFile);
}

}  // namespace

std::optional<TextSource> FindText(const GgufFile& file) {
  if (!file.Has("tokenizer.ggml.model")) return std::nullopt;
  const std::string kind = file.GetString("tokenizer.ggml.model");
  if (kind != "llama") {
    throw Error("{}: tokenizer.ggml.model is '{}' but must be 'llama' (sentencepiece BPE)",
                file.name(), Printable(kind));
  }
  const auto pieces = file.GetStringArray("tokenizer.ggml.tokens");
  const auto scores = file.GetFloatArray("tokenizer.ggml.scores");
  std::vector<int32_t> types;
  for (const int64_t type : file.GetIntArray("tokenizer.ggml.token_type")) {
    types.push_back(type >= 0 && type <= 255 ? static_cast<int32_t>(type) : -1);
  }
  VocabularyArrays arrays{.pieces = pieces, .scores = scores, .types = types};
  arrays.unk_id = file.GetInt("tokenizer.ggml.unknown_token_id", arrays.unk_id);
  arrays.bos_id = file.GetInt("tokenizer.ggml.bos_token_id", arrays.bos_id);
  arrays.eos_id = file.GetInt("tokenizer.ggml.eos_token_id", arrays.eos_id);
  arrays.pad_id = file.GetInt("tokenizer.ggml.padding_token_id", arrays.pad_id);
  arrays.add_bos = file.GetBool("tokenizer.ggml.add_bos_token", arrays.add_bos);
  arrays.add_eos = file.GetBool("tokenizer.ggml.add_eos_token", arrays.add_eos);
  arrays.add_dummy_prefix =
      file.GetBool("tokenizer.ggml.add_space_prefix", arrays.add_dummy_prefix);
  arrays.remove_extra_whitespaces = file.GetBool("tokenizer.ggml.remove_extra_whitespaces", false);
  TextSource text;
  text.file = file.name();
  text.vocabulary = VocabularyFromArrays(arrays, file.name());
  text.chat_template = file.GetString("tokenizer.chat_template", "");
  return text;
}

std::optional<TextSource> FindText(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) {
    if (auto text = FindText(*checkpoint.gguf())) return text;
  }
  return FindInFolder(checkpoint.folder());
}

TextSource OpenText(const std::string& path) {
  std::error_code ignored;
  std::optional<TextSource> text;
  if (fs::is_directory(path, ignored)) {
    text = FindInFolder(path);
    if (!text) {
      bool has_gguf = false;
      for (fs::directory_iterator entry(path, ignored);
           !ignored && entry != fs::directory_iterator(); entry.increment(ignored)) {
        has_gguf = has_gguf || entry->path().extension() == ".gguf";
      }
      if (has_gguf) text = FindText(Checkpoint::Open(path));
    }
  } else if (GgufFile::HasMagic(MappedFile(path).bytes()) || path.ends_with(".safetensors")) {
    text = FindText(Checkpoint::Open(path));
  } else {
    text = ReadTokenizerFile(path);
  }
  if (!text) ThrowNoText(path);
  return std::move(*text);
}

std::vector<std::string> CheckVocabulary(const TextSource& text, const ModelConfig& config) {
  const int64_t pieces = text.vocabulary.size();
  if (pieces > config.vocab_size) {
    throw Error("{}: has {} pieces but the model's embedding has only {} rows", text.file, pieces,
                config.vocab_size);
  }
  std::vector<std::string> warnings;
  if (pieces < config.vocab_size) {
    warnings.push_back(fmt::format(
        "{}: has {} pieces but the model's embedding has {} rows; the rest is never used",
        text.file, pieces, config.vocab_size));
  }
  if (text.vocabulary.bos_id >= 0 && text.vocabulary.bos_id != config.bos_id) {
    warnings.push_back(
        fmt::format("{}: BOS is {} but the model's config says {}; the tokenizer's is used",
                    text.file, text.vocabulary.bos_id, config.bos_id));
  }
  return warnings;
}

OpenedModel OpenModel(const std::string& path, TextNeed need) {
  OpenedModel opened{LoadedModel::Load(path), {}, {}, {}, {}};
  opened.warnings = opened.model.warnings();
  if (need == TextNeed::kNone) return opened;
  auto text = FindText(opened.model.checkpoint());
  if (!text) ThrowNoText(path);
  const auto warnings = CheckVocabulary(*text, opened.model.model().config);
  opened.warnings.insert(opened.warnings.end(), warnings.begin(), warnings.end());
  if (need == TextNeed::kChat) {
    const ChatFormat format = ChooseChatFormat(text->vocabulary, text->chat_template);
    opened.chat_version = format.version;
    if (format.warning.empty())
      opened.chat_template = text->chat_template;
    else
      opened.warnings.push_back(fmt::format("{}: {}", text->file, format.warning));
  }
  opened.tokenizer.emplace(std::move(text->vocabulary), text->file);
  return opened;
}

}  // namespace cadre
