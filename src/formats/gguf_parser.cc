#include <algorithm>
#include <bit>

#include "base/byte_reader.h"
#include "base/error.h"
#include "formats/ggml_types.h"
#include "formats/gguf.h"
#include "formats/gguf_values.h"

namespace cadre {
namespace {

constexpr std::string_view kMagic = "GGUF";
// Far above any real file, and low enough that a hostile count cannot make us build large tables.
constexpr uint64_t kMaxEntries = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxTensorNameBytes = 1024;
constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxArrayElements = 1 << 24;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxDims = 4;
constexpr auto kLastType = static_cast<uint32_t>(GgufType::kF64);
constexpr uint64_t kMinEntryBytes = 8 + 4 + 1;  // key length, type, a one-byte value
constexpr uint64_t kMinTensorBytes =
    8 + 4 + 8 + 4 + 8;  // name length, rank, one dimension, type, offset

std::string_view ReadString(ByteReader& reader, uint64_t max_bytes, std::string_view what) {
  const auto size = reader.Read<uint64_t>(what);
  if (size > max_bytes) {
    throw Error("{}: {} at byte {} has a length of {} but may have at most {}", reader.name(), what,
                reader.offset() - 8, size, max_bytes);
  }
  return reader.TakeText(size, what);
}

}  // namespace

// Fills a GgufFile from bytes, one section after the other.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, std::string name)
      : bytes_(bytes), reader_(bytes, name) {
    file_.name_ = std::move(name);
    file_.num_bytes_ = bytes.size();
  }

  GgufFile Parse() {
    ReadHeader();
    for (uint64_t i = 0; i < num_entries_; ++i) ReadEntry();
    ReadAlignment();
    reader_.ExpectRoomFor(num_tensors_, kMinTensorBytes, "the tensor count");
    for (uint64_t i = 0; i < num_tensors_; ++i) ReadTensor();
    PlaceTensors();
    CheckOverlaps();
    return std::move(file_);
  }

 private:
  void ReadHeader() {
    const auto magic =
        reader_.TakeText(std::min(reader_.remaining(), uint64_t{kMagic.size()}), "the magic");
    if (magic != kMagic)
      throw Error("{}: begins with '{}' but must begin with 'GGUF'", name(), Printable(magic));
    const auto version = reader_.Read<uint32_t>("the version");
    if (version != 0 && (version & 0xffff) == 0) {
      throw Error("{}: is a big-endian GGUF file; only little-endian ones are read", name());
    }
    if (version == 1) {
      throw Error(
          "{}: is GGUF version 1, which is no longer read; convert the model again to version 3",
          name());
    }
    if (version != 2 && version != 3)
      throw Error("{}: GGUF version is {} but must be 2 or 3", name(), version);
    file_.version_ = version;
    num_tensors_ = ReadCount("the tensor count", kMaxTensors, kMinTensorBytes);
    num_entries_ = ReadCount("the metadata count", kMaxEntries, kMinEntryBytes);
  }

  uint64_t ReadCount(std::string_view what, uint64_t max, uint64_t min_record_bytes) {
    const auto count = reader_.Read<uint64_t>(what);
    if (count > max) throw Error("{}: {} is {} but must be at most {}", name(), what, count, max);
    reader_.ExpectRoomFor(count, min_record_bytes, what);
    return count;
  }

  void ReadEntry() {
    const auto key = ReadString(reader_, kMaxKeyBytes, "a metadata key");
    const std::string what = fmt::format("the value of '{}'", Printable(key));
    const GgufType type = ReadType(what);
    file_.entries_.push_back({key, ReadValue(type, what)});
    if (!file_.key_index_.emplace(key, file_.entries_.size() - 1).second) {
      throw Error("{}: metadata key '{}' occurs twice", name(), Printable(key));
    }
  }

  GgufType ReadType(std::string_view what) {
    const auto type = reader_.Read<uint32_t>(what);
    if (type > kLastType)
      throw Error("{}: {} has type {} but must have 0 to 12", name(), what, type);
    return static_cast<GgufType>(type);
  }

  GgufValue ReadValue(GgufType type, std::string_view what) {
    switch (type) {
      case GgufType::kString:
        return {type, ReadString(reader_, kMaxStringBytes, what)};
      case GgufType::kArray:
        return {type, ReadArray(what)};
      case GgufType::kBool: {
        const auto flag = reader_.Read<uint8_t>(what);
        if (flag > 1) throw Error("{}: {} is the bool {} but must be 0 or 1", name(), what, flag);
        return {type, flag == 1};
      }
      default:
        return ReadGgufNumber(reader_, type, what);
    }
  }

  GgufArray ReadArray(std::string_view what) {
    const GgufType element = ReadType(what);
    if (element == GgufType::kArray)
      throw Error("{}: {} is an array of arrays, which is not read", name(), what);
    const auto count = reader_.Read<uint64_t>(what);
    if (count > kMaxArrayElements) {
      throw Error("{}: {} is an array of {} elements but may have at most {}", name(), what, count,
                  kMaxArrayElements);
    }
    const bool is_text = element == GgufType::kString;
    reader_.ExpectRoomFor(count, is_text ? 8 : FixedBytes(element), what);
    if (!is_text)
      return CheckedArray({element, count, reader_.Take(count * FixedBytes(element), what)}, what);
    const uint64_t begin = reader_.offset();
    for (uint64_t i = 0; i < count; ++i) ReadString(reader_, kMaxStringBytes, what);
    return {element, count, bytes_.subspan(begin, reader_.offset() - begin)};
  }

  GgufArray CheckedArray(GgufArray array, std::string_view what) const {
    if (array.element == GgufType::kBool) {
      for (const std::byte flag : array.bytes) {
        if (flag > std::byte{1}) {
          throw Error("{}: {} holds the bool {} but must hold 0 or 1", name(), what,
                      static_cast<int>(flag));
        }
      }
    }
    return array;
  }

  void ReadAlignment() {
    const int64_t alignment = file_.GetInt("general.alignment", 32);
    if (alignment < 1 || alignment > int64_t{kMaxAlignment} ||
        !std::has_single_bit(static_cast<uint64_t>(alignment))) {
      throw Error("{}: general.alignment is {} but must be a power of two from 1 to {}", name(),
                  alignment, kMaxAlignment);
    }
    file_.alignment_ = static_cast<uint64_t>(alignment);
  }

  void ReadTensor() {
    GgufTensor tensor{};
    tensor.name = ReadString(reader_, kMaxTensorNameBytes, "a tensor name");
    if (tensor.name.empty())
      throw Error("{}: tensor {} has no name", name(), file_.tensors_.size());
    const std::string what = fmt::format("tensor '{}'", Printable(tensor.name));
    const auto num_dims = reader_.Read<uint32_t>(what);
    if (num_dims < 1 || num_dims > kMaxDims) {
      throw Error("{}: {} has {} dimensions but must have 1 to {}", name(), what, num_dims,
                  kMaxDims);
    }
    for (uint32_t i = 0; i < num_dims; ++i) {
      const auto dim = reader_.Read<uint64_t>(what);
      if (dim < 1 || dim > uint64_t{INT64_MAX}) {
        throw Error("{}: {} has a dimension of {} but each must be 1 to 2^63 - 1", name(), what,
                    dim);
      }
      tensor.dims.push_back(static_cast<int64_t>(dim));
    }
    tensor.type_id = reader_.Read<uint32_t>(what);
    tensor.dtype = DTypeFromGgml(tensor.type_id);
    tensor.has_known_size = FindGgmlType(tensor.type_id) != nullptr;
    tensor.offset = reader_.Read<uint64_t>(what);
    if (tensor.offset % file_.alignment_ != 0) {
      throw Error("{}: {} has offset {} but must have a multiple of {}", name(), what,
                  tensor.offset, file_.alignment_);
    }
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
      throw Error("{}: {} occurs twice", name(), what);
    }
    file_.tensors_.push_back(std::move(tensor));
  }

  // 0 for a type of unknown size.
  uint64_t TensorBytes(const GgufTensor& tensor, const std::string& what) const {
    uint64_t elements = 1;
    for (const int64_t dim : tensor.dims)
      elements = CheckedMul(elements, static_cast<uint64_t>(dim), what);
    const GgmlType* type = FindGgmlType(tensor.type_id);
    if (type == nullptr) return 0;
    if (tensor.dims[0] % type->block_elems != 0) {
      throw Error("{} has rows of {} but type {} needs a multiple of {}", what, tensor.dims[0],
                  type->name, type->block_elems);
    }
    // Rows are whole blocks, so this division leaves no rest.
    return CheckedMul(elements / static_cast<uint64_t>(type->block_elems),
                      static_cast<uint64_t>(type->block_bytes), what);
  }

  void PlaceTensors() {
    const uint64_t padding =
        (file_.alignment_ - reader_.offset() % file_.alignment_) % file_.alignment_;
    // A file without tensors may end before the data would begin.
    reader_.Skip(std::min(padding, reader_.remaining()), "the padding");
    const auto data = bytes_.subspan(reader_.offset());
    for (auto& tensor : file_.tensors_) {
      const std::string what = fmt::format("{}: tensor '{}'", name(), Printable(tensor.name));
      const uint64_t size = TensorBytes(tensor, what);
      if (CheckedAdd(tensor.offset, size, what) > data.size()) {
        throw Error("{} takes data bytes {} to {}, but the file holds {}; is it cut short?", what,
                    tensor.offset, tensor.offset + size, data.size());
      }
      tensor.data = data.subspan(tensor.offset, size);
    }
  }

  void CheckOverlaps() const {
    std::vector<const GgufTensor*> sorted;
    for (const auto& tensor : file_.tensors_) sorted.push_back(&tensor);
    std::sort(sorted.begin(), sorted.end(),
              [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < sorted.size(); ++i) {
      const auto& previous = *sorted[i - 1];
      if (previous.offset + previous.data.size() > sorted[i]->offset ||
          previous.offset == sorted[i]->offset) {
        throw Error("{}: tensors '{}' and '{}' overlap", name(), Printable(previous.name),
                    Printable(sorted[i]->name));
      }
    }
  }

  const std::string& name() const { return reader_.name(); }

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  GgufFile file_;
  uint64_t num_tensors_ = 0;
  uint64_t num_entries_ = 0;
};

GgufFile GgufFile::Open(const std::string& path) {
  MappedFile file(path);
  GgufFile result = Parse(file.bytes(), path);
  result.file_ = std::move(file);
  return result;
}

GgufFile GgufFile::Parse(std::span<const std::byte> bytes, std::string name) {
  return GgufParser(bytes, std::move(name)).Parse();
}

bool GgufFile::HasMagic(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

}  // namespace cadre
