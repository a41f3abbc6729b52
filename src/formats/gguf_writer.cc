#include "formats/gguf_writer.h"

#include <algorithm>
#include <array>

#include "base/byte_reader.h"
#include "base/error.h"
#include "formats/gguf_values.h"

namespace cadre {
namespace {

constexpr size_t kMaxNameBytes = 63;

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void PutString(std::string& out, std::string_view text) {
  Put<uint64_t>(out, text.size());
  out += text;
}

uint64_t Padded(uint64_t bytes, const std::string& what) {
  return CheckedAdd(bytes, GgufWriter::kAlignment - 1, what) / GgufWriter::kAlignment *
         GgufWriter::kAlignment;
}

}  // namespace

GgufWriter::GgufWriter(std::string path, std::string work)
    : path_(std::move(path)), file_(path_, std::move(work)) {}

void GgufWriter::BeginEntry(std::string_view key, GgufType type) {
  CADRE_CHECK(!header_written_ && keys_.insert(std::string(key)).second);
  PutString(metadata_, key);
  Put(metadata_, static_cast<uint32_t>(type));
}

void GgufWriter::BeginArray(std::string_view key, GgufType element, uint64_t count) {
  BeginEntry(key, GgufType::kArray);
  Put(metadata_, static_cast<uint32_t>(element));
  Put(metadata_, count);
}

void GgufWriter::SetU16(std::string_view key, uint16_t value) {
  BeginEntry(key, GgufType::kU16);
  Put(metadata_, value);
}

void GgufWriter::SetU32(std::string_view key, uint32_t value) {
  BeginEntry(key, GgufType::kU32);
  Put(metadata_, value);
}

void GgufWriter::SetI32(std::string_view key, int32_t value) {
  BeginEntry(key, GgufType::kI32);
  Put(metadata_, value);
}

void GgufWriter::SetU64(std::string_view key, uint64_t value) {
  BeginEntry(key, GgufType::kU64);
  Put(metadata_, value);
}

void GgufWriter::SetF32(std::string_view key, float value) {
  BeginEntry(key, GgufType::kF32);
  Put(metadata_, value);
}

void GgufWriter::SetBool(std::string_view key, bool value) {
  BeginEntry(key, GgufType::kBool);
  Put(metadata_, static_cast<uint8_t>(value));
}

void GgufWriter::SetString(std::string_view key, std::string_view value) {
  BeginEntry(key, GgufType::kString);
  PutString(metadata_, value);
}

void GgufWriter::SetStringArray(std::string_view key, std::span<const std::string> values) {
  BeginArray(key, GgufType::kString, values.size());
  for (const auto& value : values) PutString(metadata_, value);
}

void GgufWriter::SetStringArray(std::string_view key, std::span<const std::string_view> values) {
  BeginArray(key, GgufType::kString, values.size());
  for (const auto value : values) PutString(metadata_, value);
}

void GgufWriter::SetF32Array(std::string_view key, std::span<const float> values) {
  BeginArray(key, GgufType::kF32, values.size());
  for (const float value : values) Put(metadata_, value);
}

void GgufWriter::SetI32Array(std::string_view key, std::span<const int32_t> values) {
  BeginArray(key, GgufType::kI32, values.size());
  for (const int32_t value : values) Put(metadata_, value);
}

void GgufWriter::SetU32Array(std::string_view key, std::span<const uint32_t> values) {
  BeginArray(key, GgufType::kU32, values.size());
  for (const uint32_t value : values) Put(metadata_, value);
}

void GgufWriter::Copy(const GgufEntry& entry) {
  if (entry.key == "general.alignment" || entry.key.starts_with("split.")) return;
  const auto& value = entry.value.value;
  if (const auto* array = std::get_if<GgufArray>(&value)) {
    BeginArray(entry.key, array->element, array->count);
    metadata_.append(reinterpret_cast<const char*>(array->bytes.data()), array->bytes.size());
    return;
  }
  BeginEntry(entry.key, entry.value.type);
  if (const auto* text = std::get_if<std::string_view>(&value)) return PutString(metadata_, *text);
  if (const auto* flag = std::get_if<bool>(&value))
    return Put(metadata_, static_cast<uint8_t>(*flag));
  if (const auto* real = std::get_if<double>(&value)) {
    if (entry.value.type == GgufType::kF64) return Put(metadata_, *real);
    return Put(metadata_, static_cast<float>(*real));
  }
  const auto* number = std::get_if<int64_t>(&value);
  const uint64_t bits =
      number != nullptr ? static_cast<uint64_t>(*number) : std::get<uint64_t>(value);
  // Little-endian: the low bytes of the widened number are the number as it was.
  metadata_.append(reinterpret_cast<const char*>(&bits), FixedBytes(entry.value.type));
}

void GgufWriter::Declare(const std::string& name, DType type, std::span<const int64_t> shape) {
  CADRE_CHECK(!header_written_ && names_.insert(name).second);
  const std::string what = fmt::format("{}: tensor '{}'", path_, Printable(name));
  if (name.empty() || name.size() > kMaxNameBytes) {
    throw Error("{} has a name of {} bytes but must have 1 to {}", what, name.size(),
                kMaxNameBytes);
  }
  if (shape.empty() || shape.size() > 4) {
    throw Error("{} has {} dimensions but must have 1 to 4", what, shape.size());
  }
  const auto& info = Info(type);
  if (shape.back() % info.block_elems != 0) {
    throw Error("{} has rows of {} but type {} needs a multiple of {}", what, shape.back(),
                info.name, info.block_elems);
  }
  uint64_t elements = 1;
  for (const int64_t dim : shape) {
    if (dim < 1) throw Error("{} has a dimension of {} but each must be at least 1", what, dim);
    elements = CheckedMul(elements, static_cast<uint64_t>(dim), what);
  }
  const uint64_t bytes = CheckedMul(elements / static_cast<uint64_t>(info.block_elems),
                                    static_cast<uint64_t>(info.block_bytes), what);
  PutString(infos_, name);
  Put(infos_, static_cast<uint32_t>(shape.size()));
  for (size_t i = shape.size(); i-- > 0;) Put(infos_, static_cast<uint64_t>(shape[i]));
  Put(infos_, static_cast<uint32_t>(type));
  Put(infos_, data_bytes_);
  tensor_bytes_.push_back(bytes);
  data_bytes_ = CheckedAdd(data_bytes_, Padded(bytes, what), what);
}

void GgufWriter::Pad() {
  static constexpr std::array<char, kAlignment> kZeros{};
  file_.Write(
      std::string_view(kZeros.data(), (kAlignment - file_.size() % kAlignment) % kAlignment));
}

std::string GgufWriter::Header() const {
  std::string header = "GGUF";
  Put<uint32_t>(header, 3);
  Put<uint64_t>(header, tensor_bytes_.size());
  Put<uint64_t>(header, keys_.size());
  header += metadata_;
  header += infos_;
  header.resize(Padded(header.size(), path_));
  return header;
}

void GgufWriter::WriteHeader() {
  file_.Write(Header());
  header_written_ = true;
}

size_t GgufWriter::Resume() {
  CADRE_CHECK(!header_written_ && current_tensor_ == 0);
  const std::string header = Header();
  if (!file_.KeptBeginWith(header)) return 0;
  uint64_t end = header.size();
  for (const uint64_t bytes : tensor_bytes_) {
    const uint64_t next = end + Padded(bytes, path_);
    if (next > file_.kept_bytes()) break;
    end = next;
    ++current_tensor_;
  }
  file_.ContinueAt(end);
  header_written_ = true;
  return current_tensor_;
}

void GgufWriter::Append(std::span<const std::byte> bytes) {
  if (!header_written_) WriteHeader();
  while (!bytes.empty()) {
    CADRE_CHECK(current_tensor_ < tensor_bytes_.size());
    const uint64_t missing = tensor_bytes_[current_tensor_] - current_bytes_;
    const auto part = bytes.first(std::min<uint64_t>(missing, bytes.size()));
    file_.Write(part);
    bytes = bytes.subspan(part.size());
    current_bytes_ += part.size();
    if (part.size() == missing) {
      Pad();
      ++current_tensor_;
      current_bytes_ = 0;
    }
  }
}

void GgufWriter::Seal() {
  if (!header_written_) WriteHeader();
  CADRE_CHECK(current_tensor_ == tensor_bytes_.size());
  file_.Seal();
}

void GgufWriter::Commit() {
  Seal();
  file_.Commit();
}

}  // namespace cadre
