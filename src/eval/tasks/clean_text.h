// The cleaning that lm-evaluation-harness gives HellaSwag and Okapi's translations.
#pragma once

#include <string>
#include <string_view>

namespace cadre {

// `text` stripped, " [title]" as ". ", everything else in square brackets left out, two spaces made
// one: what the WikiHow part of HellaSwag left behind.
std::string WithoutWikiHowMarks(std::string_view text);

}  // namespace cadre
