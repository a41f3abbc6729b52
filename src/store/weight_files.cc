#include "store/weight_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

WeightFiles::WeightFiles(const Checkpoint& checkpoint) {
  for (const auto& mapped : checkpoint.mapped())
    files_.push_back({.name = mapped.file, .mapped = mapped.bytes});
  try {
    for (auto& file : files_) Open(file);
  } catch (...) {
    for (const auto& file : files_)
      if (file.fd >= 0) close(file.fd);
    throw;
  }
}

WeightFiles::~WeightFiles() {
  for (const auto& file : files_) close(file.fd);
}

void WeightFiles::Open(File& file) {
  file.fd = open(file.name.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  file.is_direct = file.fd >= 0;
  if (!file.is_direct) file.fd = open(file.name.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd < 0) throw Error("{}: cannot be opened: {}", file.name, std::strerror(errno));
  struct stat info {};
  if (fstat(file.fd, &info) != 0 || static_cast<uint64_t>(info.st_size) != file.mapped.size())
    throw Error("{}: was changed while it was being opened", file.name);
  file.changed_ns = Nanoseconds(info.st_mtim);
}

std::optional<WeightFiles::Place> WeightFiles::Find(const std::byte* data) const {
  for (size_t i = 0; i < files_.size(); ++i) {
    const auto bytes = files_[i].mapped;
    if (data >= bytes.data() && data < bytes.data() + bytes.size())
      return Place{static_cast<int>(i), static_cast<uint64_t>(data - bytes.data())};
  }
  return std::nullopt;
}

void WeightFiles::UseBuffered(int index) {
  File& file = files_[static_cast<size_t>(index)];
  if (file.is_direct) fcntl(file.fd, F_SETFL, O_RDONLY);
  file.is_direct = false;
}

std::optional<std::string> WeightFiles::Change(int index) const {
  const File& file = At(index);
  struct stat info {};
  if (fstat(file.fd, &info) != 0) return fmt::format("is gone: {}", std::strerror(errno));
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size != file.mapped.size()) {
    return fmt::format("is {} bytes but was {} when it was opened", size, file.mapped.size());
  }
  if (Nanoseconds(info.st_mtim) != file.changed_ns)
    return "was changed while the model was running";
  return std::nullopt;
}

void WeightFiles::ReleaseMaps() const {
  for (const auto& file : files_) ReleasePages(file.mapped);
}

}  // namespace cadre
