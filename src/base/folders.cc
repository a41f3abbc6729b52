#include "base/folders.h"

#include <sys/stat.h>

#include <filesystem>

#include "base/error.h"
#include "base/progress.h"

namespace cadre {

namespace fs = std::filesystem;

void CreateFolders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error && !fs::is_directory(path, error))
    error = std::make_error_code(std::errc::not_a_directory);
  if (error) throw Error("{}: the folder cannot be made: {}", path, error.message());
}

void CheckRoom(const std::string& folder, uint64_t needed_bytes) {
  std::error_code error;
  const auto space = fs::space(folder, error);
  if (!error && space.available < needed_bytes) {
    throw Error("{}: {} are free but {} are to come", folder,
                ShortBytes(static_cast<double>(space.available)),
                ShortBytes(static_cast<double>(needed_bytes)));
  }
}

uint64_t BytesOnDisk(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

}  // namespace cadre
