// The lines of a data file, plain or compressed with zstd (.zst behind its name), in bounded
// memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/mapped_file.h"

namespace cadre {

// The name without .zst.
std::string_view UncompressedName(std::string_view path);

// Hands the (decompressed) bytes on in pieces. Throws Error for what is not zstd.
void ReadPieces(const MappedFile& file, const std::function<void(std::string_view piece)>& take);

// Calls `take` with every line that is not blank, without its end, and "PATH:NUMBER" for messages.
// Throws Error for a file that cannot be read and for a line of more than 1 GiB.
void ReadLines(const std::string& path,
               const std::function<void(std::string line, std::string name)>& take);

}  // namespace cadre
