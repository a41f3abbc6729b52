#include "base/html.h"

namespace cadre {

std::string Html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string_view PagePalette() {
  return R"(
:root {
  color-scheme: light dark;
  --paper: light-dark(#fbfaf7, #171614);
  --raised: light-dark(#ffffff, #232220);
  --line: light-dark(#e4e0d6, #34322d);
  --ink: light-dark(#211f1b, #ece8df);
  --ink-2: light-dark(#625d53, #aaa498);
  --danger: light-dark(#a8321f, #f2957f);
  --danger-paper: light-dark(#fbeeea, #33211d);
  --idle: light-dark(#b3401f, #f0875c);
  --even: light-dark(#efece4, #33312c);
  --busy: light-dark(#1f4f9c, #8cbaf5);
}
)";
}

}  // namespace cadre
