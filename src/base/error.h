// The two kinds of failure, never mixed: Error says that the user or a file is wrong, CADRE_CHECK
// that we are. An expected outcome is neither: return it.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace cadre {

// Input from outside (a file, an option, a prompt) is wrong. The message is one line: what, found,
// expected.
class Error : public std::runtime_error {
 public:
  template <typename... Args>
  explicit Error(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

// `text` from outside made fit for one line of a terminal: control characters and invalid UTF-8 as
// \xHH, cut at `max_bytes`.
std::string Printable(std::string_view text, size_t max_bytes = 80);

[[noreturn]] void CheckFailed(const char* expression, const char* file, int line);

}  // namespace cadre

// Aborts with the expression when it is false, in every build: for what only a bug of ours can make
// false.
#define CADRE_CHECK(expression) \
  ((expression) ? void(0) : ::cadre::CheckFailed(#expression, __FILE__, __LINE__))
