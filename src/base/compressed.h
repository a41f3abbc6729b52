// Files that may be compressed: with zstd (.zst behind the name) or gzip (.gz), in bounded memory.
#pragma once

#include <functional>
#include <string_view>

#include "base/mapped_file.h"

namespace cadre {

// The name without .zst or .gz.
std::string_view UncompressedName(std::string_view path);

// Hands the (decompressed) bytes on in pieces. Throws Error for what is not what its name says, and
// for what ends too early.
void ReadPieces(const MappedFile& file, const std::function<void(std::string_view piece)>& take);

}  // namespace cadre
