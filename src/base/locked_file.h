// An unfinished file that one process at a time works on.
#pragma once

#include <string>

namespace cadre {

// Opens `path` for reading and writing, makes it when it is not there, and locks it until it is
// closed. Follows no link: it could name any file of the user's. Throws Error; when another process
// holds the lock, "another process is {doing} it".
int OpenLocked(const std::string& path, const char* doing);

}  // namespace cadre
