// What a sandboxed program sees of the machine's files: the interpreter, the libraries of the
// system and those that the interpreter says it loads, a few devices without state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cadre {

struct ViewPart {
  enum class Kind : uint8_t { kFolder, kFile, kDevice, kLink };
  Kind kind;
  std::string path;  // absolute; the same inside
  std::string link;  // what a kLink points to
};

struct SystemView {
  std::string interpreter;  // the real path of its program
  std::vector<ViewPart> parts;
};

// Runs the interpreter (a path, or a name in PATH) to ask it. A virtual environment counts as the
// interpreter that it was made from. Throws Error when it cannot be run or is no Python 3.
SystemView FindSystemView(const std::string& interpreter);

}  // namespace cadre
