#include "eval/tasks/csv.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

class CsvParser {
 public:
  CsvParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  bool AtEnd() const { return text_.empty(); }

  // One record, and the line end behind it.
  std::vector<std::string> Record() {
    line_ = next_line_;
    std::vector<std::string> fields;
    do {
      fields.push_back(text_.starts_with('"') ? Quoted() : Bare());
    } while (Skip(","));
    if (!Skip("\r\n") && !Skip("\n") && !AtEnd())
      throw Error("{}: a field goes on behind its closing quote", place());
    ++next_line_;
    return fields;
  }

  // Of the last record's first line.
  std::string place() const { return fmt::format("{}:{}", name_, line_); }

 private:
  bool Skip(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  std::string Bare() {
    const size_t end = std::min(text_.find_first_of(",\n"), text_.size());
    std::string field(text_.substr(0, end));
    text_.remove_prefix(end);
    if (field.find('"') != std::string::npos)
      throw Error("{}: a quote stands within a field that does not begin with one", place());
    if (text_.starts_with('\n') && field.ends_with('\r')) field.pop_back();
    return field;
  }

  std::string Quoted() {
    std::string field;
    text_.remove_prefix(1);
    while (true) {
      const size_t end = text_.find('"');
      if (end == std::string_view::npos) throw Error("{}: a quote is never closed", place());
      const auto part = text_.substr(0, end);
      next_line_ += std::count(part.begin(), part.end(), '\n');
      field += part;
      text_.remove_prefix(end + 1);
      if (!Skip("\"")) return field;
      field += '"';
    }
  }

  std::string_view text_;
  const std::string& name_;
  int64_t line_ = 1;
  int64_t next_line_ = 1;
};

}  // namespace

void ParseCsv(
    std::string_view text, const std::string& name,
    const std::function<void(std::vector<std::string> fields, const std::string& name)>& take) {
  CsvParser parser(text, name);
  while (!parser.AtEnd()) {
    std::vector<std::string> fields = parser.Record();
    const bool is_blank = fields.size() == 1 && fields[0].empty();
    if (!is_blank) take(std::move(fields), parser.place());
  }
}

}  // namespace cadre
