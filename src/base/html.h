// Text from outside in a page of HTML.
#pragma once

#include <string>
#include <string_view>

namespace cadre {

// `text` with what means something in HTML as entities: fit for an element's text and for an
// attribute in quotes.
std::string Html(std::string_view text);

}  // namespace cadre
