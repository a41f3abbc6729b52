#include "study/page.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/html.h"
#include "base/json.h"
#include "study/page_files.h"

namespace cadre {
namespace {

// JSON that no text in it can end: an element of script ends at "</".
std::string ScriptData(const OrderedJson& report) {
  const std::string json = report.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  std::string data;
  data.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      data += "\\u003c";
    } else {
      data += c;
    }
  }
  return data;
}

// The files that end so, one behind the other in the order of their names.
std::string Joined(std::string_view ending) {
  std::string text;
  for (const auto& file : StudyPageFiles()) {
    if (file.path.ends_with(ending)) text += file.bytes;
  }
  CADRE_CHECK(!text.empty());
  return text;
}

}  // namespace

std::string StudyPage(const OrderedJson& report) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><meta "
      "http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
      "img-src "
      "data:\"><link rel=\"icon\" href=\"data:,\"><title>What the experts of {} do</title><style>"
      "{}{}</style></head><body><noscript>This page draws its figures with a script. They are in "
      "report.json too.</noscript><script type=\"application/json\" id=\"report\">{}</script>"
      "<script>\n\"use strict\";\n{}</script></body></html>\n",
      Html(report.at("model").at("name").get<std::string>()), PagePalette(), Joined(".css"),
      ScriptData(report), Joined(".js"));
}

}  // namespace cadre
