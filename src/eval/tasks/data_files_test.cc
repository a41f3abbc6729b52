#include "eval/tasks/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <cstdlib>
#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kPiqa = R"({"goal": "g", "sol1": "a", "sol2": "b"})";

class DataFilesTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    WriteFileAtomically(path.string(), text);
    return path.string();
  }
  std::vector<std::string> Names(const std::vector<std::string>& files) {
    std::vector<std::string> names;
    for (const auto& file : files)
      names.push_back(std::filesystem::relative(file, folder_ / "").string());
    return names;
  }
  DataFiles Find(const char* task, const std::string& data, const std::string& shots = "") {
    return FindDataFiles(FindTask(task), data, shots);
  }
  std::vector<EvalItem> Read(const char* task, const std::string& file) {
    return ReadItems(FindTask(task), {file});
  }
  TempFolder folder_;
};

TEST_F(DataFilesTest, AFolderIsLookedThroughForTheTaskAndItsSplits) {
  for (const char* name : {"arc_easy_test.jsonl", "arc_challenge.jsonl.zst", "arc_easy_train.jsonl",
                           "arc_easy_dev.jsonl", "README.md"})
    Write(name, "");
  const DataFiles easy = Find("arc_easy", folder_ / "");
  EXPECT_THAT(Names(easy.items), ElementsAre("arc_easy_test.jsonl"));
  EXPECT_THAT(Names(easy.shots), ElementsAre("arc_easy_train.jsonl"));
  EXPECT_THAT(Names(Find("arc_challenge", folder_ / "").items),
              ElementsAre("arc_challenge.jsonl.zst"));
  EXPECT_THAT(Names(Find("arc_easy", folder_ / "", folder_ / "other.jsonl").shots),
              ElementsAre("other.jsonl"));
}

TEST_F(DataFilesTest, TheOnlyFileOfAFolderIsMeantWhateverItsName) {
  Write("questions.jsonl", "");
  const DataFiles files = Find("piqa", folder_ / "");
  EXPECT_THAT(Names(files.items), ElementsAre("questions.jsonl"));
  EXPECT_THAT(files.shots, IsEmpty());
}

TEST_F(DataFilesTest, ATaskMayBeCalledAsASplitIs) {
  Write("humaneval.jsonl", "");
  EXPECT_THAT(Names(Find("humaneval", folder_ / "").items), ElementsAre("humaneval.jsonl"));
  Write("humaneval_train.jsonl", "");
  EXPECT_THAT(Names(Find("humaneval", folder_ / "").items), ElementsAre("humaneval.jsonl"));
}

TEST_F(DataFilesTest, AFolderThatDoesNotDecideIsAnError) {
  Write("a.jsonl", "");
  Write("b.jsonl", "");
  EXPECT_THAT(ErrorOf([&] { Find("piqa", folder_ / ""); }),
              HasSubstr("must hold one file of PIQA but holds a.jsonl, b.jsonl: name the file"));
}

TEST_F(DataFilesTest, MmluIsATableForEachSubject) {
  Write("test/college_physics_test.csv", "Why?,a,b,c,d,B\n\"A, or\nB?\",a,b,c,d,D\n");
  Write("test/anatomy_test.csv", "q,1,2,3,4,A\n");
  Write("dev/anatomy_dev.csv", "e,1,2,3,4,C\n");
  const DataFiles files = Find("mmlu", folder_ / "");
  EXPECT_THAT(Names(files.shots), ElementsAre("dev/anatomy_dev.csv"));
  const auto items = ReadItems(FindTask("mmlu"), files.items);
  ASSERT_THAT(items, SizeIs(3));
  EXPECT_EQ(items[0].group, "anatomy");
  EXPECT_EQ(items[1].group, "college_physics");
  EXPECT_THAT(items[2].contexts, ElementsAre("A, or\nB?\nA. a\nB. b\nC. c\nD. d\nAnswer:"));
  EXPECT_EQ(items[2].gold, 3);
}

TEST_F(DataFilesTest, ExamplesOfMmluLieBesideItsFile) {
  const auto test = Write("mmlu_test.jsonl", "");
  Write("mmlu_dev.jsonl", "");
  EXPECT_THAT(Names(Find("mmlu", test).shots), ElementsAre("mmlu_dev.jsonl"));
}

TEST_F(DataFilesTest, LabelsMayLieBesideTheLines) {
  const auto file = Write("valid.jsonl", std::string(kPiqa) + "\n" + kPiqa + "\n");
  Write("valid-labels.lst", "1\n0\n");
  const auto items = Read("piqa", file);
  ASSERT_THAT(items, SizeIs(2));
  EXPECT_EQ(items[0].gold, 1);
  EXPECT_EQ(items[1].gold, 0);
  Write("valid-labels.lst", "1\n");
  EXPECT_THAT(ErrorOf([&] { Read("piqa", file); }), HasSubstr("valid-labels.lst: has 1 labels"));
  Write("valid-labels.lst", "1\n0\n1\n");
  EXPECT_THAT(ErrorOf([&] { Read("piqa", file); }), HasSubstr("3 labels but there are 2 lines"));
}

TEST_F(DataFilesTest, CompressedLinesArrayAndTableAreTheSame) {
  const std::string line =
      R"({"Question": "Is it?", "Best Answer": "No", "Correct Answers": ["No", "Never"],
          "Incorrect Answers": ["Yes"]})";
  std::string one_line = line;
  std::erase(one_line, '\n');
  std::string packed(ZSTD_compressBound(one_line.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), one_line.data(), one_line.size(), 1));
  for (const auto& file :
       {Write("t.jsonl.zst", packed), Write("t.json", "[" + line + "]"),
        Write("t.csv",
              "\xEF\xBB\xBFQuestion,Best Answer,Correct Answers,Incorrect Answers\n"
              "Is it?,No,No; Never;,Yes\n")}) {
    const auto items = Read("truthfulqa", file);
    ASSERT_THAT(items, SizeIs(1)) << file;
    EXPECT_THAT(items[0].answers, ElementsAre("No", "Yes", "Never")) << file;
  }
}

TEST_F(DataFilesTest, MathIsAFileForEachItemByKind) {
  const auto item = [](const char* type) {
    return fmt::format(
        R"({{"problem": "p", "level": "Level 1", "type": "{}", "solution": "$\\boxed{{2}}$"}})",
        type);
  };
  Write("test/geometry/3.json", item("Geometry"));
  Write("test/algebra/10.json", item("Algebra"));
  Write("test/algebra/9.json", item("Algebra"));
  Write("test/notes.json", "[]");
  Write("train/algebra/1.json", item("Algebra"));
  const DataFiles files = Find("math", folder_ / "");
  EXPECT_THAT(Names(files.items),
              ElementsAre("test/algebra/9.json", "test/algebra/10.json", "test/geometry/3.json"));
  EXPECT_THAT(Names(Find("math", folder_ / "test/geometry").items),
              ElementsAre("test/geometry/3.json"));
  const auto items = ReadItems(FindTask("math"), files.items);
  ASSERT_THAT(items, SizeIs(3));
  EXPECT_EQ(items[2].group, "Geometry");
  EXPECT_THAT(items[0].answers, ElementsAre("2"));
}

TEST_F(DataFilesTest, BadLinesAndFilesAreNamed) {
  const auto bad = Write("bad.jsonl", std::string(R"({"goal": "g", "sol1": "a", "sol2": "b",)") +
                                          "\"label\": 0}\n\n{\"goal\"");
  EXPECT_THAT(ErrorOf([&] { Read("piqa", bad); }), HasSubstr("bad.jsonl:3: not valid JSON"));
  EXPECT_THAT(ErrorOf([&] { Read("piqa", Write("a.txt", "")); }),
              HasSubstr("a.txt: must end in .jsonl or .json"));
  EXPECT_THAT(ErrorOf([&] { Read("piqa", Write("a.csv", "")); }), HasSubstr("must end in"));
  EXPECT_THAT(ErrorOf([&] { Read("piqa", Write("a.jsonl", "\n")); }), HasSubstr("holds no item"));
  EXPECT_THAT(ErrorOf([&] { Read("piqa", Write("a.json", "{}")); }), HasSubstr("no JSON array"));
  EXPECT_THAT(ErrorOf([&] { Read("piqa", Write("b.json", "[3]")); }),
              HasSubstr("b.json: item 1: is no JSON object"));
  EXPECT_THAT(ErrorOf([&] { Read("mmlu", Write("x_test.csv", "a,b\n")); }),
              HasSubstr("x_test.csv:1: has 2 fields but must have 6"));
  EXPECT_THAT(ErrorOf([&] { Read("piqa", folder_ / "nowhere.jsonl"); }),
              HasSubstr("nowhere.jsonl"));
}

// The published files themselves, where they are.
TEST(PublishedData, IsReadWhole) {
  const char* data = std::getenv("CADRE_TEST_DATA");
  const std::string root = data == nullptr ? "" : std::string(data) + "/eval/";
  if (data == nullptr || !std::filesystem::is_directory(root)) GTEST_SKIP() << "no CADRE_TEST_DATA";
  for (const auto& [task, folder] :
       std::vector<std::pair<const char*, const char*>>{{"mmlu", "mmlu"},
                                                        {"hellaswag", "hellaswag"},
                                                        {"winogrande", "winogrande"},
                                                        {"arc_easy", "arc"},
                                                        {"arc_challenge", "arc"},
                                                        {"openbookqa", "openbookqa"},
                                                        {"piqa", "piqa"},
                                                        {"siqa", "siqa"},
                                                        {"commonsense_qa", "commonsenseqa"},
                                                        {"boolq", "boolq"},
                                                        {"lambada", "lambada"},
                                                        {"truthfulqa", "truthfulqa"},
                                                        {"truthfulqa_mc1", "truthfulqa"},
                                                        {"truthfulqa_mc2", "truthfulqa"}}) {
    const DataFiles files = FindDataFiles(FindTask(task), root + folder, "");
    EXPECT_GT(ReadItems(FindTask(task), files.items).size(), 300u) << task;
    if (std::string_view(task) == "mmlu") {
      EXPECT_EQ(ReadItems(FindTask(task), files.shots).size(), 285u);
    }
  }
}

}  // namespace
}  // namespace cadre
