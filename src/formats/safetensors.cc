#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "base/byte_reader.h"
#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

constexpr int kMaxHeaderDepth = 8;
constexpr size_t kMaxDims = 16;

struct TypeInfo {
  std::string_view name;
  int bits;
};

// In the order of SafetensorsType.
constexpr std::array<TypeInfo, 22> kTypes = {{
    {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},
    {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
    {"C64", 64},    {"F64", 64},        {"I64", 64},        {"U64", 64},    {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6},
}};

std::string Shown(const Json& value) {
  return Printable(value.dump(-1, ' ', true, Json::error_handler_t::replace), 60);
}

// What the header says of one tensor, before the data is looked for.
struct Described {
  SafetensorsEntry entry;
  uint64_t begin;
  uint64_t end;
};

// Reads the members of one tensor; `name_` is the file.
class HeaderReader {
 public:
  explicit HeaderReader(const std::string& name) : name_(name) {}

  Described ReadTensor(const std::string& tensor, const Json& members) const {
    if (!members.is_object()) Fail(tensor, "description", members, "an object");
    for (const auto& [key, value] : members.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        throw Error(
            "{}: tensor '{}' has a member '{}', but dtype, shape and data_offsets are all there "
            "may be",
            name_, Printable(tensor), Printable(key));
      }
    }
    Described described{{tensor, ReadType(tensor, Member(tensor, members, "dtype")), {}, {}}, 0, 0};
    const Json& shape = Member(tensor, members, "shape");
    if (!shape.is_array()) Fail(tensor, "shape", shape, "an array of integers");
    if (shape.size() > kMaxDims) {
      throw Error("{}: tensor '{}' has {} dimensions but may have {}", name_, Printable(tensor),
                  shape.size(), kMaxDims);
    }
    for (const Json& dim : shape)
      described.entry.shape.push_back(ReadInteger(tensor, "shape", dim));
    const Json& offsets = Member(tensor, members, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2)
      Fail(tensor, "data_offsets", offsets, "[begin, end]");
    described.begin = static_cast<uint64_t>(ReadInteger(tensor, "data_offsets", offsets[0]));
    described.end = static_cast<uint64_t>(ReadInteger(tensor, "data_offsets", offsets[1]));
    CheckSize(described);
    return described;
  }

 private:
  [[noreturn]] void Fail(const std::string& tensor, std::string_view what, const Json& found,
                         std::string_view expected) const {
    throw Error("{}: tensor '{}': {} is {} but must be {}", name_, Printable(tensor), what,
                Shown(found), expected);
  }

  const Json& Member(const std::string& tensor, const Json& members, const char* key) const {
    const auto found = members.find(key);
    if (found == members.end())
      throw Error("{}: tensor '{}' has no {}", name_, Printable(tensor), key);
    return *found;
  }

  SafetensorsType ReadType(const std::string& tensor, const Json& value) const {
    if (value.is_string()) {
      const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& info) {
        return info.name == value.get_ref<const std::string&>();
      });
      if (found != kTypes.end()) return static_cast<SafetensorsType>(found - kTypes.begin());
    }
    Fail(tensor, "dtype", value, "an element type of the format, as \"BF16\"");
  }

  // A plain non-negative integer: no sign, fraction or exponent.
  int64_t ReadInteger(const std::string& tensor, std::string_view what, const Json& value) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX}) {
      Fail(tensor, what, value, "an integer from 0 to 2^63 - 1");
    }
    return static_cast<int64_t>(value.get<uint64_t>());
  }

  void CheckSize(const Described& described) const {
    const auto& entry = described.entry;
    const std::string what = fmt::format("{}: tensor '{}'", name_, Printable(entry.name));
    if (described.end < described.begin) {
      throw Error("{}: data_offsets end at {}, before their begin {}", what, described.end,
                  described.begin);
    }
    uint64_t bits = static_cast<uint64_t>(Bits(entry.type));
    for (const int64_t dim : entry.shape) bits = CheckedMul(bits, static_cast<uint64_t>(dim), what);
    if (bits % 8 != 0) throw Error("{}: {} bits are no whole number of bytes", what, bits);
    if (bits / 8 != described.end - described.begin) {
      throw Error("{}: data_offsets span {} bytes, but shape and dtype {} make {}", what,
                  described.end - described.begin, Name(entry.type), bits / 8);
    }
  }

  const std::string& name_;
};

std::map<std::string, std::string> ReadMetadata(const Json& object, const std::string& name) {
  if (!object.is_object())
    throw Error("{}: __metadata__ is {} but must be an object", name, Shown(object));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) {
      throw Error("{}: __metadata__ '{}' is {} but must be a string", name, Printable(key),
                  Shown(value));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// The header as JSON; checks what the JSON parser does not.
Json ReadHeader(ByteReader& reader) {
  const uint64_t size = reader.Read<uint64_t>("the header length of a safetensors file");
  if (size > kMaxSafetensorsHeaderBytes) {
    throw Error("{}: the header length is {} but must be at most {}; is this a safetensors file?",
                reader.name(), size, kMaxSafetensorsHeaderBytes);
  }
  const std::string_view text = reader.TakeText(size, "the header");
  if (text.empty() || text.front() != '{') {
    throw Error("{}: the header begins with '{}' but must begin with '{{'", reader.name(),
                Printable(text.substr(0, 1)));
  }
  // The parser takes a zero byte for the end of the text and would not see what follows.
  const size_t zero = text.find('\0');
  if (zero != text.npos)
    throw Error("{}: the header holds a zero byte at {}", reader.name(), 8 + zero);
  JsonLimits limits;
  limits.max_depth = kMaxHeaderDepth;
  return ParseJson(text, reader.name(), limits);
}

// Throws unless the tensors, sorted by place, follow each other without gap or overlap and end with
// the file.
void CheckCoverage(const std::vector<Described>& tensors, uint64_t data_bytes,
                   const std::string& name) {
  uint64_t end = 0;
  for (const auto& tensor : tensors) {
    if (tensor.begin != end) {
      throw Error(
          "{}: tensor '{}' begins at data byte {} but must begin at {}, where the one before it "
          "ends",
          name, Printable(tensor.entry.name), tensor.begin, end);
    }
    end = tensor.end;
  }
  if (end != data_bytes) {
    throw Error("{}: holds {} bytes of data, but its tensors end at {}{}", name, data_bytes, end,
                end > data_bytes ? "; the file is cut short" : "");
  }
}

}  // namespace

std::string_view Name(SafetensorsType type) { return kTypes.at(static_cast<size_t>(type)).name; }

int Bits(SafetensorsType type) { return kTypes.at(static_cast<size_t>(type)).bits; }

std::optional<DType> ToDType(SafetensorsType type) {
  switch (type) {
    case SafetensorsType::kF32:
      return DType::kF32;
    case SafetensorsType::kF16:
      return DType::kF16;
    case SafetensorsType::kBF16:
      return DType::kBF16;
    default:
      return std::nullopt;
  }
}

SafetensorsType ToSafetensorsType(DType type) {
  CADRE_CHECK(type == DType::kF32 || type == DType::kF16 || type == DType::kBF16);
  if (type == DType::kF32) return SafetensorsType::kF32;
  return type == DType::kF16 ? SafetensorsType::kF16 : SafetensorsType::kBF16;
}

SafetensorsFile SafetensorsFile::Open(const std::string& path) {
  MappedFile file(path);
  SafetensorsFile result = Parse(file.bytes(), path);
  result.file_ = std::move(file);
  return result;
}

SafetensorsFile SafetensorsFile::Parse(std::span<const std::byte> bytes, std::string name) {
  SafetensorsFile file;
  file.name_ = std::move(name);
  file.num_bytes_ = bytes.size();
  ByteReader reader(bytes, file.name_);
  const Json header = ReadHeader(reader);
  const auto data = reader.Take(reader.remaining(), "the data");

  std::vector<Described> tensors;
  const HeaderReader header_reader(file.name_);
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      file.metadata_ = ReadMetadata(value, file.name_);
    } else {
      tensors.push_back(header_reader.ReadTensor(key, value));
    }
  }
  // Empty tensors share their place with the one after them and come first.
  std::sort(tensors.begin(), tensors.end(), [](const Described& a, const Described& b) {
    return std::tie(a.begin, a.end, a.entry.name) < std::tie(b.begin, b.end, b.entry.name);
  });
  CheckCoverage(tensors, data.size(), file.name_);
  for (auto& tensor : tensors) {
    tensor.entry.data = data.subspan(tensor.begin, tensor.end - tensor.begin);
    file.index_.emplace(tensor.entry.name, file.entries_.size());
    file.entries_.push_back(std::move(tensor.entry));
  }
  return file;
}

const SafetensorsEntry* SafetensorsFile::Find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

}  // namespace cadre
