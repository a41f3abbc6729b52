// What the pages that the program writes share: text from outside in HTML, and their colours.
#pragma once

#include <string>
#include <string_view>

namespace cadre {

// `text` with what means something in HTML as entities: fit for an element's text and for an
// attribute in quotes.
std::string Html(std::string_view text);

// CSS: the colours of all pages, light and dark, as variables.
std::string_view PagePalette();

}  // namespace cadre
