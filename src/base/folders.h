// Folders that files are about to be written to.
#pragma once

#include <cstdint>
#include <string>

namespace cadre {

// Makes the folder and those it lies in, where they are not there. Throws Error.
void CreateFolders(const std::string& path);

// Throws Error when the disk of the existing folder has less room than that.
void CheckRoom(const std::string& folder, uint64_t needed_bytes);

// What the file takes on its disk; 0 when it is not there.
uint64_t BytesOnDisk(const std::string& path);

}  // namespace cadre
