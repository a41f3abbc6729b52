// The bytes of the files in server/web/, as the build found them.
#pragma once

#include <span>

#include "base/embedded_file.h"

namespace cadre {

// All files, in ascending order of their paths.
std::span<const EmbeddedFile> WebFiles();

}  // namespace cadre
