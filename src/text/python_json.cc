#include "text/python_json.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

// repr(float): the shortest digits that read back the same, always with a point or an exponent.
std::string FloatRepr(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string NumberRepr(const std::string& literal) {
  if (literal.find_first_of(".eE") != std::string::npos)
    return FloatRepr(std::strtod(literal.c_str(), nullptr));
  return literal == "-0" ? "0" : literal;  // integers have any size in Python
}

// The end of the token that begins at `begin` of JSON known to be valid.
size_t StringEnd(std::string_view text, size_t begin) {
  size_t end = begin + 1;
  while (text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  return end + 1;
}

size_t ScalarEnd(std::string_view text, size_t begin) {
  const size_t end = text.find_first_of(",:]} \t\r\n", begin);
  return end == std::string_view::npos ? text.size() : end;
}

std::string Respelt(std::string_view text) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      const size_t end = StringEnd(text, at);
      out += PythonJsonString(Json::parse(text.substr(at, end - at)).get_ref<const std::string&>());
      at = end;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      const size_t end = ScalarEnd(text, at);
      out += NumberRepr(std::string(text.substr(at, end - at)));
      at = end;
    } else {
      if (c == ',' || c == ':') {
        out += {c, ' '};
      } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
        out.push_back(c);  // brackets, true, false, null
      }
      ++at;
    }
  }
  return out;
}

}  // namespace

std::string PythonJsonString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out.push_back(c);
        }
    }
  }
  return out + "\"";
}

std::optional<std::string> PythonJson(std::string_view text) {
  // nlohmann's parser skips a byte order mark; Python's refuses it.
  if (text.starts_with("\xEF\xBB\xBF")) return std::nullopt;
  try {
    ParseJson(text, "JSON");
  } catch (const Error&) {
    return std::nullopt;
  }
  return Respelt(text);
}

}  // namespace cadre
