#include "cli/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>

#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/output.h"

namespace cadre {
namespace {

constexpr size_t kMaxLineBytes = size_t{16} << 20;

char* PromptOf(EditLine* editor) {
  std::string* prompt = nullptr;
  el_get(editor, EL_CLIENTDATA, &prompt);
  return prompt->data();
}

// One character from the terminal. libedit's own function starts over after a signal; ours gives up
// on Ctrl-C.
int ReadCharacter(EditLine*, wchar_t* character) {
  std::mbstate_t state = {};
  while (true) {
    char byte = 0;
    const ssize_t count = read(STDIN_FILENO, &byte, 1);
    if (count < 0 && errno == EINTR && !Interrupt::flag()) continue;
    if (count <= 0) return static_cast<int>(count);
    const size_t size = std::mbrtowc(character, &byte, 1, &state);
    if (size == 0 || size == 1) return 1;
    if (size == static_cast<size_t>(-1)) state = {};  // no character: skip the byte
  }
}

}  // namespace

LineEditor::LineEditor(std::string prompt) : prompt_(std::move(prompt)) {
  if (!IsTerminal(stdin) || !IsTerminal(stdout)) return;
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  editor_ = el_init("cadre", stdin, stdout, stderr);
  history_ = history_init();
  if (editor_ == nullptr || history_ == nullptr)
    throw Error("the terminal cannot be used for editing");
  HistEvent event;
  ::history(history_, &event, H_SETSIZE, 1000);
  ::history(history_, &event, H_SETUNIQUE, 1);
  el_set(editor_, EL_CLIENTDATA, &prompt_);
  el_set(editor_, EL_PROMPT, PromptOf);
  el_set(editor_, EL_EDITOR, "emacs");
  el_set(editor_, EL_HIST, ::history, history_);
  el_set(editor_, EL_GETCFN, ReadCharacter);
}

LineEditor::~LineEditor() {
  if (editor_ != nullptr) el_end(editor_);
  if (history_ != nullptr) history_end(history_);
}

std::optional<std::string> LineEditor::Read() { return interactive() ? ReadEdited() : ReadPlain(); }

std::optional<std::string> LineEditor::ReadEdited() {
  int count = 0;
  const char* edited = el_gets(editor_, &count);
  if (edited == nullptr || count <= 0) {
    if (!Interrupt::flag()) return std::nullopt;
    el_reset(editor_);
    return "";
  }
  std::string line(edited);
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  HistEvent event;
  if (!line.empty()) ::history(history_, &event, H_ENTER, line.c_str());
  return line;
}

std::optional<std::string> LineEditor::ReadPlain() {
  std::string line;
  int c = 0;
  while ((c = std::getc(stdin)) != EOF && c != '\n') {
    line += static_cast<char>(c);
    if (line.size() > kMaxLineBytes)
      throw Error("a line of the input is longer than {} bytes", kMaxLineBytes);
  }
  if (c == EOF && line.empty()) return std::nullopt;
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace cadre
