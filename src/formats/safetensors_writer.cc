#include <algorithm>

#include "base/byte_reader.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace cadre {

SafetensorsWriter::SafetensorsWriter(std::string path, std::map<std::string, std::string> metadata,
                                     std::string work)
    : path_(std::move(path)), file_(path_, std::move(work)), metadata_(std::move(metadata)) {
  metadata_.emplace("format", "pt");
}

void SafetensorsWriter::Declare(const std::string& name, SafetensorsType type,
                                std::span<const int64_t> shape) {
  CADRE_CHECK(!header_written_);
  CADRE_CHECK(name != "__metadata__" && names_.insert(name).second);
  const std::string what = fmt::format("{}: tensor '{}'", path_, Printable(name));
  uint64_t bits = static_cast<uint64_t>(Bits(type));
  for (const int64_t dim : shape) {
    CADRE_CHECK(dim >= 0);
    bits = CheckedMul(bits, static_cast<uint64_t>(dim), what);
  }
  if (bits % 8 != 0) throw Error("{}: {} bits are no whole number of bytes", what, bits);
  const uint64_t element_bytes = std::max(uint64_t{1}, static_cast<uint64_t>(Bits(type)) / 8);
  // Other readers build arrays in place and need their elements aligned.
  if (declared_bytes_ % element_bytes != 0) {
    throw Error("{} of type {} would start at data byte {}, no multiple of its {}-byte element",
                what, Name(type), declared_bytes_, element_bytes);
  }
  const uint64_t end = CheckedAdd(declared_bytes_, bits / 8, what);
  declared_.push_back({name, type, {shape.begin(), shape.end()}, declared_bytes_, end});
  declared_bytes_ = end;
}

std::string SafetensorsWriter::Header() const {
  std::string text = "{\"__metadata__\":";
  try {
    text += Json(metadata_).dump();
    for (const auto& tensor : declared_) {
      text += fmt::format(R"(,{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                          Json(tensor.name).dump(), Name(tensor.type), Json(tensor.shape).dump(),
                          tensor.begin, tensor.end);
    }
  } catch (const Json::exception& error) {
    throw Error("{}: a tensor name or metadata is not UTF-8: {}", path_,
                Printable(error.what(), 200));
  }
  text += '}';
  text.resize((8 + text.size() + 63) / 64 * 64 - 8, ' ');
  if (text.size() > kMaxSafetensorsHeaderBytes) {
    throw Error("{}: the header would take {} bytes but may take {}", path_, text.size(),
                kMaxSafetensorsHeaderBytes);
  }
  const uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + text;
}

void SafetensorsWriter::WriteHeader() {
  file_.Write(Header());
  header_written_ = true;
}

size_t SafetensorsWriter::Resume() {
  CADRE_CHECK(!header_written_);
  const std::string header = Header();
  if (!file_.KeptBeginWith(header)) return 0;
  size_t whole = 0;
  for (const auto& tensor : declared_) {
    if (header.size() + tensor.end > file_.kept_bytes()) break;
    appended_bytes_ = tensor.end;
    ++whole;
  }
  file_.ContinueAt(header.size() + appended_bytes_);
  header_written_ = true;
  return whole;
}

void SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  if (!header_written_) WriteHeader();
  CADRE_CHECK(bytes.size() <= declared_bytes_ - appended_bytes_);
  appended_bytes_ += bytes.size();
  file_.Write(bytes);
}

void SafetensorsWriter::Seal() {
  if (!header_written_) WriteHeader();
  CADRE_CHECK(appended_bytes_ == declared_bytes_);
  file_.Seal();
}

void SafetensorsWriter::Commit() {
  Seal();
  file_.Commit();
}

}  // namespace cadre
