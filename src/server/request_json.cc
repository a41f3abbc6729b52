#include "server/request_json.h"

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/api_error.h"

namespace cadre {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr int kMaxDepth = 64;
// An empty array costs some 60 bytes of memory for two of text.
constexpr size_t kMaxValues = size_t{2} << 20;
// Building an ordered object compares each new key with all that are there.
constexpr uint64_t kMaxKeyComparisons = 100'000'000;

// Counts without building anything.
class ShapeCheck : public OrderedJson::json_sax_t {
 public:
  bool null() override { return CountValue(); }
  bool boolean(bool) override { return CountValue(); }
  bool number_integer(number_integer_t) override { return CountValue(); }
  bool number_unsigned(number_unsigned_t) override { return CountValue(); }
  bool number_float(number_float_t, const string_t&) override { return CountValue(); }
  bool string(string_t&) override { return CountValue(); }
  bool binary(binary_t&) override { return CountValue(); }
  bool start_object(size_t) override { return Open(); }
  bool start_array(size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t&) override {
    comparisons_ += keys_.back()++;
    if (comparisons_ > kMaxKeyComparisons) fault_ = "an object has too many keys";
    return fault_.empty();
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;  // the parser that builds says it better
  }

  const std::string& fault() const { return fault_; }

 private:
  bool CountValue() {
    if (++num_values_ > kMaxValues) fault_ = fmt::format("more than {} values", kMaxValues);
    return fault_.empty();
  }
  bool Open() {
    keys_.push_back(0);
    if (keys_.size() > kMaxDepth) fault_ = fmt::format("nested deeper than {}", kMaxDepth);
    return CountValue() && fault_.empty();
  }
  bool Close() {
    keys_.pop_back();
    return true;
  }

  std::vector<uint64_t> keys_;  // of every open object so far
  uint64_t comparisons_ = 0;
  size_t num_values_ = 0;
  std::string fault_;
};

std::optional<unsigned> HexEscape(std::string_view text, size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
  unsigned value = 0;
  for (const char c : text.substr(at + 2, 4)) {
    const bool is_digit = c >= '0' && c <= '9';
    const char lower = static_cast<char>(c | 0x20);
    if (!is_digit && (lower < 'a' || lower > 'f')) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(is_digit ? c - '0' : lower - 'a' + 10);
  }
  return value;
}

bool IsHigh(unsigned unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool IsLow(unsigned unit) { return unit >= 0xDC00 && unit < 0xE000; }

// Half a character cannot be said in UTF-8; clients that cut strings by UTF-16 units send it.
std::string WithoutLoneSurrogates(std::string_view text) {
  std::string fit;
  fit.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const size_t next = std::min(text.find('\\', at), text.size());
    fit += text.substr(at, next - at);
    at = next;
    if (at == text.size()) break;
    const std::optional<unsigned> unit = HexEscape(text, at);
    const std::optional<unsigned> second = unit ? HexEscape(text, at + 6) : std::nullopt;
    size_t length = unit ? 6 : 2;
    if (unit && IsHigh(*unit) && second && IsLow(*second)) {
      fit += text.substr(at, 12);
      length = 12;
    } else if (unit && (IsHigh(*unit) || IsLow(*unit))) {
      fit += "\\ufffd";
    } else {
      fit += text.substr(at, length);
    }
    at = std::min(at + length, text.size());
  }
  return fit;
}

}  // namespace

OrderedJson ParseRequestJson(std::string_view body) {
  if (body.size() > kMaxBytes) {
    throw ApiError(
        413, fmt::format("the body is {} bytes but must be at most {}", body.size(), kMaxBytes));
  }
  const std::string fit = WithoutLoneSurrogates(body);
  ShapeCheck shape;
  OrderedJson::sax_parse(fit, &shape);
  if (!shape.fault().empty()) throw ApiError(400, "the body's JSON: " + shape.fault());
  OrderedJson json;
  try {
    json = ParseOrderedJson(fit, "the body", {.max_bytes = 6 * kMaxBytes, .max_depth = kMaxDepth});
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
  if (!json.is_object()) {
    throw ApiError(422,
                   fmt::format("the body is a JSON {} but must be an object", json.type_name()), "",
                   "model_attributes_type");
  }
  return json;
}

}  // namespace cadre
