// The record of an evaluation: JSON lines, a head that says of what and then one for each item,
// written as they come. A run that was stopped at any moment goes on behind the last whole line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace cadre {

class EvalRecord {
 public:
  // Creates `path`, or with `resume`, where it is there, reads what it holds. Throws Error when it
  // cannot be written, when it is there without `resume`, and when its head is not `head`: the
  // error says what differs.
  EvalRecord(std::string path, const OrderedJson& head, bool resume);
  ~EvalRecord();
  EvalRecord(const EvalRecord&) = delete;
  EvalRecord& operator=(const EvalRecord&) = delete;

  // The items' lines that were there, in their order, without the ids of their prompts.
  const std::vector<Json>& kept() const { return kept_; }
  const std::string& path() const { return path_; }

  // Puts lines behind the others; they are the kernel's when this returns.
  void Append(const std::vector<OrderedJson>& lines);

 private:
  uint64_t Read(const OrderedJson& head);
  void Write(const std::string& text);

  std::string path_;
  int fd_ = -1;
  std::vector<Json> kept_;
};

}  // namespace cadre
