// From a path as the user gives it to the items of a benchmark: which files of a folder are meant,
// and what lies in them (.jsonl, .json, .csv, each also with .zst or .gz behind it).
#pragma once

#include <string>
#include <vector>

#include "eval/tasks/task.h"

namespace cadre {

struct DataFiles {
  std::vector<std::string> items;
  std::vector<std::string> shots;  // empty: none are there
};

// A file, or a folder that holds the task's: those whose name has the task's name in it (or any,
// where there is only one), of the split that is evaluated; MMLU's .csv files may lie in test/ and
// dev/, MATH's NUMBER.json in folders of test/. `shots` is what the user names for examples, or
// empty: then the folder is looked through. Throws Error where that does not name one file, saying
// what was found.
DataFiles FindDataFiles(const Task& task, const std::string& data, const std::string& shots);

// All items of the files, in their order. Labels that stand in a file of their own beside the lines
// (dev.jsonl, dev-labels.lst) are read with them. Throws Error("PATH:LINE: ...").
std::vector<EvalItem> ReadItems(const Task& task, const std::vector<std::string>& files);

}  // namespace cadre
