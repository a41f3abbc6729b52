// Any bytes as the record of a run and as its settings: a report of bounded size whose text is
// escaped, or one Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "train/report.h"

namespace {

size_t Count(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Lines of the record; the last is the settings.
  const size_t last = text.rfind('\n');
  const std::string_view lines = last == text.npos ? text : text.substr(0, last + 1);
  const std::string_view rest = last == text.npos ? std::string_view() : text.substr(last + 1);
  cadre::Json settings = cadre::Json::object();
  try {
    settings = cadre::ParseJson(rest, "settings");
  } catch (const cadre::Error&) {
  }
  const cadre::RunRecord record = cadre::ParseRunRecord(lines, "lines");
  const std::string page = cadre::ReportPage(record, settings);
  if (Count(page, "<script") != 1 || Count(page, "<style") != 1 || Count(page, "<title") != 1)
    abort();
  if (page.size() > (size_t{64} << 20) + 16 * size) abort();
  return 0;
}
