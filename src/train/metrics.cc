#include "train/metrics.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

// The lines of a record up to `last_step`; a line that a kill cut short ends them.
std::string LinesUpTo(std::string_view text, int64_t last_step) {
  std::string kept;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    const Json line = Json::parse(text.substr(0, end), nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer() ||
        line["step"].get<int64_t>() > last_step) {
      break;
    }
    kept.append(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(std::string path, int64_t last_step,
                       std::function<void(const std::string&)> on_line)
    : path_(std::move(path)), on_line_(std::move(on_line)) {
  std::string kept;
  if (std::filesystem::exists(path_)) kept = LinesUpTo(MappedFile(path_).text(), last_step);
  WriteFileAtomically(path_, kept);
  file_ = std::fopen(path_.c_str(), "a");
  if (file_ == nullptr) throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
}

MetricsLog::~MetricsLog() { std::fclose(file_); }

void MetricsLog::Write(const OrderedJson& line) {
  const std::string text = line.dump();
  if (std::fprintf(file_, "%s\n", text.c_str()) < 0 || std::fflush(file_) != 0) {
    throw Error("{}: writing failed: {}", path_, std::strerror(errno));
  }
  if (on_line_) on_line_(text);
}

}  // namespace cadre
