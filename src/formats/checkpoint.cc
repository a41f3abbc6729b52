#include "formats/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/byte_reader.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/ggml_types.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kMistralFile = "consolidated.safetensors";
constexpr const char* kMistralIndexFile = "consolidated.safetensors.index.json";
constexpr int64_t kMaxGgufParts = 1000;

bool IsPickleName(std::string_view name) {
  return name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth");
}

// A zip archive (PyTorch since 1.6) or a bare pickle stream.
bool HasPickleMagic(std::string_view text) {
  const bool is_pickle = text.size() >= 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
  return is_pickle || text.starts_with("PK\x03\x04");
}

[[noreturn]] void RefusePickle(const std::string& file) {
  throw Error(
      "{}: is a PyTorch pickle file, which can run code when read, so it is not; convert it to "
      ".safetensors first "
      "(torch.load with weights_only=True, then safetensors.torch.save_file)",
      file);
}

// A shard is a file of the same folder and nothing else.
void CheckShardName(const std::string& shard, const std::string& index_path) {
  const bool leaves = shard.find_first_of(std::string_view("/\\\0", 3)) != shard.npos ||
                      shard.find("..") != shard.npos;
  if (leaves || !shard.ends_with(".safetensors")) {
    throw Error(
        "{}: weight_map names the file '{}' but must name .safetensors files of the same folder",
        index_path, Printable(shard));
  }
}

// The tensors of weight_map with their shards, names checked.
std::map<std::string, std::string> ReadWeightMap(const std::string& index_path) {
  const Json index = ReadJsonFile(index_path);
  const auto found = index.is_object() ? index.find("weight_map") : index.end();
  if (found == index.end() || !found->is_object() || found->empty()) {
    throw Error("{}: has no weight_map with tensors in it", index_path);
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& [tensor, shard] : found->items()) {
    if (!shard.is_string()) {
      throw Error("{}: weight_map gives no file name for tensor '{}'", index_path,
                  Printable(tensor));
    }
    CheckShardName(shard.get_ref<const std::string&>(), index_path);
    weight_map.emplace(tensor, shard.get<std::string>());
  }
  return weight_map;
}

std::string GgufPartSuffix(int64_t part, int64_t num_parts) {
  return fmt::format("-{:05}-of-{:05}.gguf", part + 1, num_parts);
}

std::string ComputableTypes() {
  std::string names;
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = DTypeFromGgml(id);
    if (type) names += fmt::format("{}{}", names.empty() ? "" : ", ", Info(*type).name);
  }
  return names;
}

// The .gguf files of the folder, sorted; where there are none, those of its folders (hubs keep one
// type in each).
std::vector<std::string> FindGgufs(const fs::path& folder) {
  std::vector<std::string> files, below;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path name = entry->path().filename();
    if (name.extension() == ".gguf") files.push_back(name.string());
    std::error_code inner;
    if (!entry->is_directory(inner)) continue;
    for (fs::directory_iterator file(entry->path(), inner);
         !inner && file != fs::directory_iterator(); file.increment(inner)) {
      if (file->path().extension() == ".gguf")
        below.push_back((name / file->path().filename()).string());
    }
  }
  if (files.empty()) files = std::move(below);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Weight TensorView::AsWeight() const {
  if (!dtype) {
    throw Error("{}: tensor '{}' is stored as {} but must be one of {}", file, Printable(name),
                type_name, ComputableTypes());
  }
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i)
    rows *= shape[i];  // the readers checked the whole product
  return {data.data(), *dtype, rows, shape.empty() ? 1 : shape.back()};
}

Checkpoint Checkpoint::Open(const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    checkpoint.folder_ = path;
    checkpoint.OpenFolder();
  } else {
    const auto folder = fs::path(path).parent_path();
    checkpoint.folder_ = folder.empty() ? "." : folder.string();
    checkpoint.OpenFile(path);
  }
  if (checkpoint.kind_ != CheckpointKind::kGguf) checkpoint.ReadConfig();
  return checkpoint;
}

void Checkpoint::OpenFolder() {
  const fs::path folder(folder_);
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) throw Error("{}: cannot be listed: {}", folder_, error.message());
  std::sort(names.begin(), names.end());
  const auto has = [&](const char* name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  if (has(kIndexFile)) return OpenIndex(kIndexFile, has(kSingleFile) ? kSingleFile : nullptr);
  if (has(kSingleFile)) return OpenSafetensors((folder / kSingleFile).string());

  const std::vector<std::string> ggufs = FindGgufs(folder);
  // The parts of one split model sort in order and all end in "-of-" and the same count.
  const bool is_split = !ggufs.empty() && ggufs[0].ends_with(GgufPartSuffix(0, std::ssize(ggufs)));
  if (ggufs.size() == 1 || is_split) return OpenGguf((folder / ggufs[0]).string());
  if (!ggufs.empty())
    throw Error("{}: holds {} .gguf files; name the one to open", folder_, ggufs.size());

  if (has(kMistralFile) || has(kMistralIndexFile)) {
    kind_ = CheckpointKind::kMistral;
    if (has(kMistralIndexFile))
      return OpenIndex(kMistralIndexFile, has(kMistralFile) ? kMistralFile : nullptr);
    return OpenSafetensors((folder / kMistralFile).string());
  }
  for (const auto& name : names) {
    if (IsPickleName(name)) RefusePickle((folder / name).string());
  }
  throw Error("{}: holds no model: there is no {} or {}, no {} and no .gguf file", folder_,
              kSingleFile, kIndexFile, kMistralFile);
}

void Checkpoint::OpenFile(const std::string& file) {
  std::string start;
  {
    const MappedFile mapped(file);
    start = mapped.text().substr(0, 16);
  }
  if (GgufFile::HasMagic(std::as_bytes(std::span(start)))) return OpenGguf(file);
  if (HasPickleMagic(start) || IsPickleName(file)) RefusePickle(file);
  if (start.size() < 9 || start[8] != '{')
    throw Error("{}: is neither a GGUF nor a safetensors file", file);
  if (fs::path(file).filename() == kMistralFile) kind_ = CheckpointKind::kMistral;
  OpenSafetensors(file);
}

void Checkpoint::OpenIndex(const std::string& index_file, const char* single_file) {
  const auto weight_map = ReadWeightMap((fs::path(folder_) / index_file).string());
  std::map<std::string, size_t> num_tensors;  // by shard
  for (const auto& [tensor, shard] : weight_map) ++num_tensors[shard];
  if (single_file != nullptr && !num_tensors.contains(single_file)) {
    throw Error("{}: holds {} and, of other files, {}; remove the one that is not the model",
                folder_, single_file, index_file);
  }
  for (const auto& [shard, count] : num_tensors) {
    const auto file = (fs::path(folder_) / shard).string();
    std::error_code ignored;
    if (!fs::exists(file, ignored))
      throw Error("{}: is missing, but {} tensors of {} are in it", file, count, index_file);
    OpenSafetensors(file);
    for (const auto& entry : safetensors_files_.back().entries()) {
      const auto listed = weight_map.find(entry.name);
      if (listed == weight_map.end() || listed->second != shard) {
        throw Error("{}: tensor '{}' is in this file, but {} says it is in {}", file,
                    Printable(entry.name), index_file,
                    listed == weight_map.end() ? "no file" : Printable(listed->second));
      }
    }
  }
  for (const auto& [tensor, shard] : weight_map) {
    if (!index_.contains(tensor)) {
      throw Error("{}: tensor '{}' is not in this file, but {} says so",
                  (fs::path(folder_) / shard).string(), Printable(tensor), index_file);
    }
  }
}

void Checkpoint::OpenSafetensors(const std::string& file) {
  safetensors_files_.push_back(SafetensorsFile::Open(file));
  for (const auto& entry : safetensors_files_.back().entries()) {
    Add({entry.name, ToDType(entry.type), std::string(Name(entry.type)), entry.shape, entry.data,
         file});
  }
}

void Checkpoint::OpenGguf(const std::string& file) {
  kind_ = CheckpointKind::kGguf;
  gguf_files_.push_back(GgufFile::Open(file));
  const GgufFile& first = gguf_files_.front();
  const int64_t num_parts = first.GetInt("split.count", 1);
  if (num_parts < 0 || num_parts > kMaxGgufParts) {
    throw Error("{}: split.count is {} but must be at most {}", file, num_parts, kMaxGgufParts);
  }
  const int64_t part = first.GetInt("split.no", 0);
  if (num_parts > 1 && (part < 0 || part >= num_parts)) {
    throw Error("{}: split.no is {} but must be from 0 to {}", file, part, num_parts - 1);
  }
  if (num_parts > 1 && part != 0) {
    throw Error("{}: is part {} of {}; open the first one, named ...{}", file, part + 1, num_parts,
                GgufPartSuffix(0, num_parts));
  }
  AddGgufTensors(first);
  if (num_parts > 1) OpenGgufParts(num_parts);
}

void Checkpoint::OpenGgufParts(int64_t num_parts) {
  const std::string first = gguf_files_.front().name();
  const std::string suffix = GgufPartSuffix(0, num_parts);
  if (!first.ends_with(suffix)) {
    throw Error("{}: has {} parts, so its name must end in {}, or the others cannot be found",
                first, num_parts, suffix);
  }
  const std::string prefix = first.substr(0, first.size() - suffix.size());
  for (int64_t part = 1; part < num_parts; ++part) {
    gguf_files_.push_back(GgufFile::Open(prefix + GgufPartSuffix(part, num_parts)));
    const GgufFile& file = gguf_files_.back();
    if (file.GetInt("split.no") != part || file.GetInt("split.count") != num_parts) {
      throw Error("{}: split.no is {} and split.count {} but must be {} and {}", file.name(),
                  file.GetInt("split.no"), file.GetInt("split.count"), part, num_parts);
    }
    AddGgufTensors(file);
  }
  const int64_t num_tensors =
      gguf_files_.front().GetInt("split.tensors.count", std::ssize(tensors_));
  if (num_tensors != std::ssize(tensors_)) {
    throw Error("{}: split.tensors.count is {} but the {} parts hold {} tensors", first,
                num_tensors, num_parts, tensors_.size());
  }
}

void Checkpoint::AddGgufTensors(const GgufFile& file) {
  for (const auto& tensor : file.tensors()) {
    Add({tensor.name,
         tensor.dtype,
         GgmlTypeName(tensor.type_id),
         {tensor.dims.rbegin(), tensor.dims.rend()},
         tensor.data,
         file.name()});
  }
}

void Checkpoint::Add(TensorView tensor) {
  const auto [place, is_new] = index_.emplace(tensor.name, tensors_.size());
  if (!is_new) {
    throw Error("{}: tensor '{}' is also in {}", tensor.file, Printable(tensor.name),
                tensors_[place->second].file);
  }
  tensors_.push_back(std::move(tensor));
}

std::string Checkpoint::config_file() const {
  const bool mistral = kind_ == CheckpointKind::kMistral;
  return (fs::path(folder_) / (mistral ? "params.json" : "config.json")).string();
}

void Checkpoint::ReadConfig() {
  const auto file = config_file();
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return;
  JsonLimits limits;
  limits.max_bytes = size_t{16} << 20;
  config_ = std::make_shared<const Json>(ReadJsonFile(file, limits));
  if (!config_->is_object()) throw Error("{}: must hold a JSON object", file);
}

const Json& Checkpoint::config() const {
  CADRE_CHECK(kind_ != CheckpointKind::kGguf);
  if (!config_) throw Error("{}: is missing; it says what model the weights are", config_file());
  return *config_;
}

std::optional<TensorView> Checkpoint::Find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  if (found == index_.end()) return std::nullopt;
  return tensors_[found->second];
}

std::vector<std::string> Checkpoint::files() const {
  std::vector<std::string> names;
  for (const auto& file : safetensors_files_) names.push_back(file.name());
  for (const auto& file : gguf_files_) names.push_back(file.name());
  return names;
}

std::vector<MappedWeights> Checkpoint::mapped() const {
  std::vector<MappedWeights> mapped;
  for (const auto& file : safetensors_files_) mapped.push_back({file.name(), file.mapped()});
  for (const auto& file : gguf_files_) mapped.push_back({file.name(), file.mapped()});
  return mapped;
}

uint64_t Checkpoint::bytes() const {
  uint64_t total = 0;
  for (const auto& file : safetensors_files_) total += file.bytes();
  for (const auto& file : gguf_files_) total += file.bytes();
  return total;
}

}  // namespace cadre
