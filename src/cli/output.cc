#include "cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "text/utf8.h"

namespace cadre {
namespace {

std::string WithoutControls(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    const uint32_t c = step.code_point;
    const bool is_control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
    shown += is_control ? kReplacementCharacter : text.substr(0, step.num_bytes);
    text.remove_prefix(step.num_bytes);
  }
  return shown;
}

void Write(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  FlushOutput();
}

}  // namespace

bool IsTerminal(FILE* stream) { return isatty(fileno(stream)) != 0; }

bool UsesColour() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return IsTerminal(stdout) && (no_colour == nullptr || *no_colour == '\0') &&
         terminal != nullptr && std::strcmp(terminal, "dumb") != 0;
}

std::string Styled(std::string_view text, std::string_view style, bool colour) {
  return colour ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text);
}

void Print(std::string_view text) {
  Write(IsTerminal(stdout) ? WithoutControls(text) : std::string(text));
}

void PrintStyled(std::string_view text) { Write(text); }

void PrintJson(const OrderedJson& json) {
  Write(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void FlushOutput() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw Error("standard output cannot be written: {}", std::strerror(errno));
  }
}

std::string ReadStandardInput(size_t max_bytes) {
  std::string text;
  char buffer[65536];
  size_t size = 0;
  while ((size = std::fread(buffer, 1, sizeof buffer, stdin)) > 0) {
    text.append(buffer, size);
    if (text.size() > max_bytes)
      throw Error("standard input is more than the {} bytes allowed", max_bytes);
  }
  if (std::ferror(stdin) != 0)
    throw Error("standard input cannot be read: {}", std::strerror(errno));
  return text;
}

}  // namespace cadre
