#include "formats/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/byte_reader.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"

namespace cadre {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";

// Two arrays, as long as each other.
constexpr const char* kSensitiveTensors = "cadre.sensitivity.tensors";
constexpr const char* kSensitivities = "cadre.sensitivity.values";

// Numbers that may be sums of squares, or counts.
std::vector<float> SaneFloats(std::span<const std::byte> bytes, const std::string& what) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  for (const float value : values) {
    if (!std::isfinite(value) || value < 0)
      throw Error("{}: holds {} but sums and counts are 0 or more", what, value);
  }
  return values;
}

void Check(const ImportanceEntry& entry, const std::string& what) {
  if (entry.sums.empty() || entry.counts.empty() || entry.sums.size() % entry.counts.size() != 0) {
    throw Error("{}: has {} sums and {} counts, which do not belong together", what,
                entry.sums.size(), entry.counts.size());
  }
}

std::vector<float> FloatsOf(const GgufFile& file, const GgufTensor& tensor) {
  const std::string what = fmt::format("{}: tensor '{}'", file.name(), Printable(tensor.name));
  if (tensor.dtype != DType::kF32) throw Error("{} is not of type F32", what);
  return SaneFloats(tensor.data, what);
}

void ReadSensitivity(const GgufFile& file, ImportanceMatrix& matrix) {
  if (!file.Has(kSensitiveTensors)) return;
  const auto names = file.GetStringArray(kSensitiveTensors);
  const auto values = file.GetFloatArray(kSensitivities);
  if (names.size() != values.size()) {
    throw Error("{}: has {} sensitivities of {} tensors", file.name(), values.size(), names.size());
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (!std::isfinite(values[i]) || values[i] < 0)
      throw Error("{}: holds a sensitivity of {}", file.name(), values[i]);
    matrix.sensitivity.emplace(names[i], values[i]);
  }
}

ImportanceMatrix FromGguf(const GgufFile& file) {
  if (file.GetString("general.type", "") != "imatrix")
    throw Error("{}: is a GGUF file but no importance matrix", file.name());
  ImportanceMatrix matrix;
  if (file.Has("imatrix.datasets")) {
    for (const auto name : file.GetStringArray("imatrix.datasets"))
      matrix.datasets.emplace_back(name);
  }
  const auto u32 = [&](const char* key) {
    return static_cast<uint32_t>(
        std::clamp<int64_t>(file.GetInt(key, 0), 0, std::numeric_limits<uint32_t>::max()));
  };
  matrix.num_chunks = u32("imatrix.chunk_count");
  matrix.chunk_tokens = u32("imatrix.chunk_size");
  for (const GgufTensor& tensor : file.tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const GgufTensor* counts = file.FindTensor(name + std::string(kCounts));
    if (counts == nullptr)
      throw Error("{}: '{}' has sums but no counts", file.name(), Printable(name));
    ImportanceEntry entry = {FloatsOf(file, tensor), FloatsOf(file, *counts)};
    Check(entry, fmt::format("{}: '{}'", file.name(), Printable(name)));
    matrix.entries.emplace(name, std::move(entry));
  }
  ReadSensitivity(file, matrix);
  return matrix;
}

// i32 count of entries; of each: i32 length and text of its name, i32 calls, i32 count of values,
// the values as f32: means times calls. Then, in later files, i32 chunks, i32 length and text of
// the dataset's name.
ImportanceMatrix FromDat(ByteReader reader) {
  const auto count = [&](const char* what) {
    const auto number = reader.Read<int32_t>(what);
    if (number < 0)
      throw Error("{}: {} is {}; is it an importance matrix?", reader.name(), what, number);
    return static_cast<uint64_t>(number);
  };
  ImportanceMatrix matrix;
  const uint64_t num_entries = count("the number of entries");
  reader.ExpectRoomFor(num_entries, 12, "entries");
  for (uint64_t i = 0; i < num_entries; ++i) {
    const std::string name(reader.TakeText(count("the length of a name"), "a name"));
    const std::string what = fmt::format("{}: '{}'", reader.name(), Printable(name));
    const uint64_t calls = count("the number of calls");
    const uint64_t num_values = count("the number of values");
    ImportanceEntry entry = {SaneFloats(reader.Take(num_values * sizeof(float), what), what),
                             {static_cast<float>(calls)}};
    Check(entry, what);
    if (!matrix.entries.emplace(name, std::move(entry)).second)
      throw Error("{}: occurs twice", what);
  }
  if (reader.remaining() > 0) {
    matrix.num_chunks = static_cast<uint32_t>(count("the number of chunks"));
    matrix.datasets.emplace_back(
        reader.TakeText(count("the length of the dataset's name"), "the dataset's name"));
  }
  if (reader.remaining() > 0)
    throw Error("{}: {} bytes follow the importance matrix", reader.name(), reader.remaining());
  return matrix;
}

}  // namespace

ImportanceMatrix ParseImportanceMatrix(std::span<const std::byte> bytes, const std::string& name) {
  ImportanceMatrix matrix = GgufFile::HasMagic(bytes) ? FromGguf(GgufFile::Parse(bytes, name))
                                                      : FromDat(ByteReader(bytes, name));
  if (matrix.entries.empty()) throw Error("{}: is an importance matrix of no tensors", name);
  return matrix;
}

ImportanceMatrix ReadImportanceMatrix(const std::string& path) {
  const MappedFile file(path);
  return ParseImportanceMatrix(file.bytes(), path);
}

void WriteImportanceMatrix(const ImportanceMatrix& matrix, const std::string& path) {
  GgufWriter writer(path);
  writer.SetString("general.type", "imatrix");
  writer.SetStringArray("imatrix.datasets", matrix.datasets);
  writer.SetU32("imatrix.chunk_count", matrix.num_chunks);
  writer.SetU32("imatrix.chunk_size", matrix.chunk_tokens);
  std::vector<std::string> names;
  std::vector<float> values;
  for (const auto& [name, value] : matrix.sensitivity) {
    names.push_back(name);
    values.push_back(value);
  }
  if (!names.empty()) {
    writer.SetStringArray(kSensitiveTensors, names);
    writer.SetF32Array(kSensitivities, values);
  }
  for (const auto& [name, entry] : matrix.entries) {
    const auto num_matrices = static_cast<int64_t>(entry.counts.size());
    const auto cols = static_cast<int64_t>(entry.sums.size()) / num_matrices;
    writer.Declare(name + std::string(kSums), DType::kF32,
                   std::vector<int64_t>{num_matrices, cols});
    writer.Declare(name + std::string(kCounts), DType::kF32, std::vector<int64_t>{num_matrices, 1});
  }
  for (const auto& [name, entry] : matrix.entries) {
    writer.Append(std::as_bytes(std::span(entry.sums)));
    writer.Append(std::as_bytes(std::span(entry.counts)));
  }
  writer.Commit();
}

}  // namespace cadre
