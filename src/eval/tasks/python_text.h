// What Python's string methods do, for prompts that must equal those of a program written in it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cadre {

// str.rstrip() and str.strip(): without what Unicode calls white space.
std::string_view StripRight(std::string_view text);
std::string_view Strip(std::string_view text);

// str.capitalize(): the first character in upper case, all others in lower case. Knows the letters
// of the Latin (to U+017F), Greek and Cyrillic alphabets.
std::string Capitalized(std::string_view text);

// str.lower(), of the same letters.
std::string Lowered(std::string_view text);

// str.translate() without string.punctuation: what ASCII has of it.
std::string WithoutPunctuation(std::string_view text);

// len(str): characters, not bytes.
int64_t NumCharacters(std::string_view text);

// str.replace(): every occurrence, from the left, without looking at what was put in.
std::string Replaced(std::string_view text, std::string_view from, std::string_view to);

}  // namespace cadre
