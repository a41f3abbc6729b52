// A file that the build put into the program (cmake/embed_files.cmake): nothing is read from disk
// when it runs.
#pragma once

#include <string_view>

namespace cadre {

struct EmbeddedFile {
  std::string_view path;  // "/app.js"
  std::string_view content_type;
  std::string_view sha256;  // of the bytes, 64 hexadecimal digits
  std::string_view bytes;
};

}  // namespace cadre
