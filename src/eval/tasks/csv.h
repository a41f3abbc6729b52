// Comma-separated values as RFC 4180 has them: fields in double quotes may hold commas, line ends
// and doubled quotes.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cadre {

// Calls `take` with the fields of every record and "NAME:LINE" of its first line. Throws Error for
// a quote that is never closed, or stands within a bare field.
void ParseCsv(
    std::string_view text, const std::string& name,
    const std::function<void(std::vector<std::string> fields, const std::string& name)>& take);

}  // namespace cadre
