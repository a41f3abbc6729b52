// The lines of a data file, plain or compressed (base/compressed.h), in bounded memory.
#pragma once

#include <functional>
#include <string>

namespace cadre {

// Calls `take` with every line that is not blank, without its end, and "PATH:NUMBER" for messages.
// Throws Error for a file that cannot be read and for a line of more than 1 GiB.
void ReadLines(const std::string& path,
               const std::function<void(std::string line, std::string name)>& take);

}  // namespace cadre
