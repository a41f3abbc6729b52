#include <filesystem>

#include "base/compressed.h"
#include "base/error.h"
#include "base/lines.h"
#include "eval/tasks/csv.h"
#include "eval/tasks/data_files.h"
#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;

// A file of labels, one in a line, beside a file of lines.
class Labels {
 public:
  explicit Labels(const std::string& data) {
    std::string_view stem = UncompressedName(data);
    stem.remove_suffix(std::string_view(".jsonl").size());
    path_ = std::string(stem) + "-labels.lst";
    if (!std::filesystem::is_regular_file(path_)) return;
    ReadLines(path_, [&](const std::string& line, const std::string&) {
      labels_.emplace_back(Strip(line));
    });
    is_there_ = true;
  }

  // Of line `index`, where the line says none itself.
  void AddTo(Json& line, size_t index) const {
    if (!is_there_ || !line.is_object() || line.contains("label")) return;
    if (index >= labels_.size())
      throw Error("{}: has {} labels, fewer than there are lines", path_, labels_.size());
    line["label"] = labels_[index];
  }

  void ExpectCount(size_t count) const {
    if (is_there_ && count != labels_.size())
      throw Error("{}: has {} labels but there are {} lines", path_, labels_.size(), count);
  }

 private:
  std::string path_;
  std::vector<std::string> labels_;
  bool is_there_ = false;
};

std::string ReadWhole(const std::string& path) {
  const MappedFile file(path);
  std::string text;
  ReadPieces(file, [&](std::string_view piece) {
    if (text.size() + piece.size() > kMaxFileBytes)
      throw Error("{}: has more than {} bytes", path, kMaxFileBytes);
    text += piece;
  });
  return text;
}

class ItemReader {
 public:
  ItemReader(const Task& task, std::vector<EvalItem>& items) : task_(task), items_(items) {}

  void ReadLinesOf(const std::string& path) {
    const Labels labels(path);
    size_t count = 0;
    ReadLines(path, [&](const std::string& text, const std::string& name) {
      Json line = ParseJson(text, name);
      labels.AddTo(line, count++);
      Take(line, name);
    });
    labels.ExpectCount(count);
  }

  // An array of items; where each has a file of its own, the one item.
  void ReadDocument(const std::string& path) {
    const Json array = ParseJson(ReadWhole(path), path, {.max_bytes = kMaxFileBytes});
    if (task_.in_a_file_each && array.is_object()) return Take(array, path);
    if (!array.is_array()) throw Error("{}: is no JSON array (lines end in .jsonl)", path);
    for (size_t i = 0; i < array.size(); ++i)
      Take(array[i], fmt::format("{}: item {}", path, i + 1));
  }

  // question, four options, letter; the subject is the file's name.
  void ReadMmluTable(const std::string& path) {
    std::string subject = std::filesystem::path(UncompressedName(path)).stem().string();
    for (const std::string_view split : {"_test", "_dev", "_val"}) {
      if (subject.ends_with(split)) subject.resize(subject.size() - split.size());
    }
    ParseCsv(ReadWhole(path), path,
             [&](const std::vector<std::string>& row, const std::string& name) {
               if (row.size() != 6)
                 throw Error("{}: has {} fields but must have 6: question, four options, letter",
                             name, row.size());
               Take({{"subject", subject},
                     {"question", row[0]},
                     {"choices", {row[1], row[2], row[3], row[4]}},
                     {"answer", row[5]}},
                    name);
             });
  }

  // The first row names the columns.
  void ReadTable(const std::string& path) {
    std::vector<std::string> columns;
    ParseCsv(ReadWhole(path), path, [&](std::vector<std::string> row, const std::string& name) {
      if (columns.empty()) {
        columns = std::move(row);
        if (columns[0].starts_with("\xEF\xBB\xBF")) columns[0].erase(0, 3);
        return;
      }
      if (row.size() != columns.size())
        throw Error("{}: has {} fields but the first row names {}", name, row.size(),
                    columns.size());
      Json line = Json::object();
      for (size_t i = 0; i < row.size(); ++i) line[columns[i]] = std::move(row[i]);
      Take(line, name);
    });
  }

 private:
  void Take(const Json& line, const std::string& name) {
    const Fields fields(line, name);
    if (task_.is_asked == nullptr || task_.is_asked(fields)) items_.push_back(task_.read(fields));
  }

  const Task& task_;
  std::vector<EvalItem>& items_;
};

}  // namespace

std::vector<EvalItem> ReadItems(const Task& task, const std::vector<std::string>& files) {
  std::vector<EvalItem> items;
  ItemReader reader(task, items);
  for (const auto& file : files) {
    const std::string_view name = UncompressedName(file);
    if (name.ends_with(".jsonl")) {
      reader.ReadLinesOf(file);
    } else if (name.ends_with(".json")) {
      reader.ReadDocument(file);
    } else if (name.ends_with(".csv") && task.csv == CsvForm::kMmlu) {
      reader.ReadMmluTable(file);
    } else if (name.ends_with(".csv") && task.csv == CsvForm::kNamedColumns) {
      reader.ReadTable(file);
    } else {
      throw Error("{}: must end in .jsonl or .json{}, with .zst or .gz behind it or not", file,
                  task.csv == CsvForm::kNone ? "" : " or .csv");
    }
    if (items.empty()) throw Error("{}: holds no item", file);
  }
  return items;
}

}  // namespace cadre
