#include "formats/gguf.h"

#include <array>

#include "base/byte_reader.h"
#include "base/error.h"
#include "formats/gguf_values.h"

namespace cadre {
namespace {

constexpr std::array<std::string_view, 13> kTypeNames = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

std::optional<int64_t> ToInt(const GgufValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value.value)) return *number;
  const auto* number = std::get_if<uint64_t>(&value.value);
  if (number == nullptr || *number > uint64_t{INT64_MAX}) return std::nullopt;
  return static_cast<int64_t>(*number);
}

bool IsInteger(GgufType type) {
  return FixedBytes(type) > 0 && type != GgufType::kF32 && type != GgufType::kF64 &&
         type != GgufType::kBool;
}

bool IsFloat(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

[[noreturn]] void Fail(const std::string& file, std::string_view key, const GgufValue& found,
                       std::string_view expected) {
  throw Error("{}: {} is {} but must be {}", file, Printable(key), Describe(found), expected);
}

}  // namespace

std::string_view Name(GgufType type) { return kTypeNames.at(static_cast<size_t>(type)); }

uint64_t FixedBytes(GgufType type) {
  constexpr std::array<uint64_t, 13> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes.at(static_cast<size_t>(type));
}

GgufValue ReadGgufNumber(ByteReader& reader, GgufType type, std::string_view what) {
  switch (type) {
    case GgufType::kU8:
      return {type, uint64_t{reader.Read<uint8_t>(what)}};
    case GgufType::kI8:
      return {type, int64_t{reader.Read<int8_t>(what)}};
    case GgufType::kU16:
      return {type, uint64_t{reader.Read<uint16_t>(what)}};
    case GgufType::kI16:
      return {type, int64_t{reader.Read<int16_t>(what)}};
    case GgufType::kU32:
      return {type, uint64_t{reader.Read<uint32_t>(what)}};
    case GgufType::kI32:
      return {type, int64_t{reader.Read<int32_t>(what)}};
    case GgufType::kU64:
      return {type, uint64_t{reader.Read<uint64_t>(what)}};
    case GgufType::kI64:
      return {type, int64_t{reader.Read<int64_t>(what)}};
    case GgufType::kF32:
      return {type, double{reader.Read<float>(what)}};
    case GgufType::kF64:
      return {type, reader.Read<double>(what)};
    default:
      CADRE_CHECK(false && "a number of no fixed size");
      return {};
  }
}

std::string Describe(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    return fmt::format("an array of {} {}", array->count, Name(array->element));
  }
  if (const auto* text = std::get_if<std::string_view>(&value.value)) {
    return fmt::format("the string '{}'", Printable(*text, 60));
  }
  if (const auto* flag = std::get_if<bool>(&value.value)) return fmt::format("the bool {}", *flag);
  if (const auto* real = std::get_if<double>(&value.value))
    return fmt::format("the {} {}", Name(value.type), *real);
  if (const auto* number = std::get_if<int64_t>(&value.value))
    return fmt::format("the {} {}", Name(value.type), *number);
  return fmt::format("the {} {}", Name(value.type), std::get<uint64_t>(value.value));
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = key_index_.find(key);
  return found == key_index_.end() ? nullptr : &entries_[found->second].value;
}

const GgufTensor* GgufFile::FindTensor(std::string_view tensor) const {
  const auto found = tensor_index_.find(std::string(tensor));
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

bool GgufFile::IsArray(std::string_view key) const {
  const GgufValue* value = Find(key);
  return value != nullptr && value->type == GgufType::kArray;
}

const GgufValue& GgufFile::Require(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) throw Error("{}: metadata has no {}", name_, Printable(key));
  return *value;
}

int64_t GgufFile::GetInt(std::string_view key) const {
  const GgufValue& value = Require(key);
  const auto number = ToInt(value);
  if (!number) Fail(name_, key, value, "an integer below 2^63");
  return *number;
}

double GgufFile::GetFloat(std::string_view key) const {
  const GgufValue& value = Require(key);
  if (!IsFloat(value.type)) Fail(name_, key, value, "an f32 or f64");
  return std::get<double>(value.value);
}

bool GgufFile::GetBool(std::string_view key) const {
  const GgufValue& value = Require(key);
  if (value.type != GgufType::kBool) Fail(name_, key, value, "a bool");
  return std::get<bool>(value.value);
}

std::string GgufFile::GetString(std::string_view key) const {
  const GgufValue& value = Require(key);
  if (value.type != GgufType::kString) Fail(name_, key, value, "a string");
  return std::string(std::get<std::string_view>(value.value));
}

int64_t GgufFile::GetInt(std::string_view key, int64_t fallback) const {
  return Has(key) ? GetInt(key) : fallback;
}

double GgufFile::GetFloat(std::string_view key, double fallback) const {
  return Has(key) ? GetFloat(key) : fallback;
}

bool GgufFile::GetBool(std::string_view key, bool fallback) const {
  return Has(key) ? GetBool(key) : fallback;
}

std::string GgufFile::GetString(std::string_view key, std::string_view fallback) const {
  return Has(key) ? GetString(key) : std::string(fallback);
}

const GgufArray& GgufFile::RequireArray(std::string_view key, std::string_view expected,
                                        bool (*is_element)(GgufType)) const {
  const GgufValue& value = Require(key);
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr || !is_element(array->element)) Fail(name_, key, value, expected);
  return *array;
}

std::vector<std::string_view> GgufFile::GetStringArray(std::string_view key) const {
  const auto& array = RequireArray(key, "an array of strings",
                                   [](GgufType type) { return type == GgufType::kString; });
  ByteReader reader(array.bytes, name_);
  std::vector<std::string_view> values(array.count);
  for (auto& value : values) value = reader.TakeText(reader.Read<uint64_t>("a length"), "a string");
  return values;
}

std::vector<float> GgufFile::GetFloatArray(std::string_view key) const {
  const auto& array = RequireArray(key, "an array of f32 or f64", IsFloat);
  ByteReader reader(array.bytes, name_);
  std::vector<float> values(array.count);
  for (auto& value : values) {
    value = static_cast<float>(
        std::get<double>(ReadGgufNumber(reader, array.element, "an element").value));
  }
  return values;
}

std::vector<int64_t> GgufFile::GetIntArray(std::string_view key) const {
  const auto& array = RequireArray(key, "an array of integers", IsInteger);
  ByteReader reader(array.bytes, name_);
  std::vector<int64_t> values(array.count);
  for (auto& value : values) {
    const GgufValue element = ReadGgufNumber(reader, array.element, "an element");
    const auto number = ToInt(element);
    if (!number) Fail(name_, key, element, "an array of integers below 2^63");
    value = *number;
  }
  return values;
}

}  // namespace cadre
