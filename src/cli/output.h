// Standard output: results only, as plain text or as one JSON object. Knows when a terminal is
// there; colour and what a terminal must not see are decided here.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "base/json_fwd.h"

namespace cadre {

bool IsTerminal(FILE* stream);
// Whether standard output is a terminal that may get colour (NO_COLOR and TERM=dumb are respected).
bool UsesColour();

// `text` between the escape codes of an ANSI style such as "1" (bold) or "36"; as it is without
// colour.
std::string Styled(std::string_view text, std::string_view style, bool colour);

// Writes and flushes. On a terminal, control characters but newline and tab become U+FFFD: a
// model's text shall not move the cursor or worse. Throws Error when standard output cannot be
// written.
void Print(std::string_view text);

// Writes text of our own that may carry escape codes.
void PrintStyled(std::string_view text);

// One object, one line.
void PrintJson(const OrderedJson& json);

// Throws Error when something written earlier was lost.
void FlushOutput();

// All of standard input. Throws Error above max_bytes.
std::string ReadStandardInput(size_t max_bytes = size_t{64} << 20);

}  // namespace cadre
