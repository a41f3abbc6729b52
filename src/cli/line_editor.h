// Lines from the person at the terminal, with editing and history (libedit), or from a pipe as they
// are.
#pragma once

#include <optional>
#include <string>

struct editline;
struct history;

namespace cadre {

class LineEditor {
 public:
  // Edits when standard input and output are terminals.
  explicit LineEditor(std::string prompt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool interactive() const { return editor_ != nullptr; }

  // The next line without its end; nothing at the end of input. While an Interrupt is active Ctrl-C
  // gives up the line: then the result is empty and Interrupt::flag() set. Throws Error for a line
  // of more than 16 MiB.
  std::optional<std::string> Read();

 private:
  std::optional<std::string> ReadEdited();
  std::optional<std::string> ReadPlain();

  std::string prompt_;
  editline* editor_ = nullptr;
  history* history_ = nullptr;
};

}  // namespace cadre
