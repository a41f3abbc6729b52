#include "eval/eval_record.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/locked_file.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

std::string Line(const OrderedJson& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// The first member of `head` that `found` has otherwise. The model is told by its scores, not by
// its name.
std::string Difference(const Json& found, const OrderedJson& head) {
  for (const auto& [key, value] : head.items()) {
    if (key == "model") continue;
    const std::string wanted = value.dump();
    const std::string there = found.contains(key) ? found[key].dump() : "absent";
    if (there != wanted)
      return fmt::format("its {} is {} but must be {}", key, Printable(there), Printable(wanted));
  }
  return "";
}

}  // namespace

EvalRecord::EvalRecord(std::string path, const OrderedJson& head, bool resume)
    : path_(std::move(path)) {
  const bool is_there = std::filesystem::exists(path_) && std::filesystem::file_size(path_) > 0;
  if (is_there && !resume)
    throw Error("{}: is already there: go on with it (--resume) or name another file", path_);
  fd_ = OpenLocked(path_, "writing");
  try {
    const uint64_t size = is_there ? Read(head) : 0;
    if (ftruncate(fd_, static_cast<off_t>(size)) != 0 || lseek(fd_, 0, SEEK_END) < 0)
      throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
    if (size == 0) Write(Line(head));
  } catch (...) {
    close(fd_);
    throw;
  }
}

EvalRecord::~EvalRecord() { close(fd_); }

// Returns the bytes of whole lines.
uint64_t EvalRecord::Read(const OrderedJson& head) {
  const MappedFile file(path_);
  const std::string_view text = file.text();
  size_t begin = 0, number = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
    const std::string name = fmt::format("{}:{}", path_, ++number);
    Json line = ParseJson(text.substr(begin, end - begin), name);
    if (number > 1) {
      if (line.is_object()) line.erase("prompt_ids");  // many, and never read back
      kept_.push_back(std::move(line));
      continue;
    }
    if (!line.is_object()) throw Error("{}: is no record of an evaluation", path_);
    const std::string difference = Difference(line, head);
    if (!difference.empty()) throw Error("{}: is of another evaluation: {}", path_, difference);
  }
  return begin;
}

void EvalRecord::Append(const std::vector<OrderedJson>& lines) {
  std::string text;
  for (const auto& line : lines) text += Line(line);
  Write(text);
}

void EvalRecord::Write(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = write(fd_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
    done += static_cast<size_t>(count);
  }
}

}  // namespace cadre
