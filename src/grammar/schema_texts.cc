#include "grammar/schema_texts.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_map>

#include "grammar/regex.h"

namespace cadre {
namespace {

// Years 0001 to 9999 of the Gregorian calendar, with its leap years (RFC 3339).
std::string Date() {
  const std::string year = "([1-9]\\d{3}|0[1-9]\\d\\d|00[1-9]\\d|000[1-9])";
  const std::string days =
      "((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2["
      "0-8]))";
  const std::string leap_year =
      "(\\d\\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26]|0[48])00)";
  return fmt::format("({}-{}|{}-02-29)", year, days, leap_year);
}

std::string Time() {
  return "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
}

std::string Duration() {
  const std::string time = "T(\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}S)";
  const std::string date = "(\\d{1,9}D|\\d{1,9}M(\\d{1,9}D)?|\\d{1,9}Y(\\d{1,9}M(\\d{1,9}D)?)?)";
  return fmt::format("P(\\d{{1,9}}W|{}({})?|{})", date, time, time);
}

// RFC 1123: labels of letters, digits and inner hyphens.
std::string Hostname() {
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
  return fmt::format("{}(\\.{}){{0,6}}", label, label);
}

// RFC 5321 without quoted local parts and address literals.
std::string Email() {
  const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}";
  return fmt::format("{}(\\.{})?@{}", atom, atom, Hostname());
}

std::string Ipv4() {
  const std::string octet = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  return fmt::format("({}\\.){{3}}{}", octet, octet);
}

// RFC 4291, without an IPv4 address at the end.
std::string Ipv6() {
  const std::string part = "[0-9a-fA-F]{1,4}";
  std::string forms = fmt::format("({}:){{7}}{}|::({}(:{}){{0,6}})?", part, part, part, part);
  for (int before = 1; before <= 7; ++before) {
    forms += fmt::format("|{}(:{}){{{}}}::", part, part, before - 1);
    if (before < 7) forms += fmt::format("({}(:{}){{0,{}}})?", part, part, 6 - before);
  }
  return forms;
}

// RFC 3986: a scheme with an authority, or urn: and mailto:.
std::string Uri() {
  const std::string free = "[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}";
  const std::string host = "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?";
  return fmt::format(
      "([A-Za-z][A-Za-z0-9+.-]*://{}(:\\d{{1,5}})?(/({})*)?|(urn|mailto):({})+)"
      "(\\?({}|[?])*)?(#({}|[?])*)?",
      host, free, free, free, free);
}

std::string FormatPattern(std::string_view format) {
  if (format == "date") return Date();
  if (format == "time") return Time();
  if (format == "date-time") return Date() + "T" + Time();
  if (format == "duration") return Duration();
  if (format == "email" || format == "idn-email") return Email();
  if (format == "hostname" || format == "idn-hostname") return Hostname();
  if (format == "ipv4") return Ipv4();
  if (format == "ipv6") return Ipv6();
  if (format == "uuid") return "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
  if (format == "uri" || format == "iri" || format == "uri-reference") return Uri();
  return {};
}

}  // namespace

const TextDfa& SchemaTexts::Pattern(const std::string& pattern) {
  const auto found = patterns_.find(pattern);
  if (found != patterns_.end()) return found->second;
  return patterns_.emplace(pattern, CompileRegexText(pattern, RegexMatch::kAnywhere, budget_))
      .first->second;
}

const TextDfa* SchemaTexts::Format(const std::string& format) {
  const auto found = formats_.find(format);
  if (found != formats_.end()) return &found->second;
  const std::string pattern = FormatPattern(format);
  if (pattern.empty()) return nullptr;
  return &formats_.emplace(format, CompileRegexText(pattern, RegexMatch::kWhole, budget_))
              .first->second;
}

}  // namespace cadre
