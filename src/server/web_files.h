// The bytes of the files in server/web/, as the build found them. The table is made by
// cmake/embed_files.cmake; nothing is read from disk when the program runs.
#pragma once

#include <span>
#include <string_view>

namespace cadre {

struct WebFile {
  std::string_view path;  // "/app.js"
  std::string_view content_type;
  std::string_view sha256;  // of the bytes, 64 hexadecimal digits
  std::string_view bytes;
};

// All files, in ascending order of their paths.
std::span<const WebFile> WebFiles();

}  // namespace cadre
