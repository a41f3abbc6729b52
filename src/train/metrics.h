// The record of a run: a JSON line per step in metrics.jsonl. A resumed run drops the lines of
// steps it will do again.
#pragma once

#include <cstdio>
#include <functional>
#include <string>

#include "base/json_fwd.h"

namespace cadre {

class MetricsLog {
 public:
  // Opens the file, cut (atomically) behind the last line whose "step" is at most `last_step`.
  MetricsLog(std::string path, int64_t last_step, std::function<void(const std::string&)> on_line);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  void Write(const OrderedJson& line);

 private:
  std::string path_;
  std::FILE* file_;
  std::function<void(const std::string&)> on_line_;
};

}  // namespace cadre
