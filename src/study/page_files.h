// Style and script of the report: the files in study/page/, as the build found them.
#pragma once

#include <span>

#include "base/embedded_file.h"

namespace cadre {

// All files, in ascending order of their paths.
std::span<const EmbeddedFile> StudyPageFiles();

}  // namespace cadre
