#include "eval/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/testing.h"
#include "eval/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using eval_testing::SmallScorer;
using ::testing::HasSubstr;
using ::testing::SizeIs;

EvalItem Question(int number) {
  EvalItem item;
  item.group = number % 2 == 0 ? "even" : "odd";  // not side by side
  item.description = "About " + item.group + " ones.\n\n";
  item.contexts = {std::string(static_cast<size_t>(3 + number % 5), 'q') + " is"};
  item.answers = {"a", "bb", "c d", "e"};
  for (const auto& answer : item.answers) item.continuations.push_back(" " + answer);
  item.gold = number % 4;
  item.example = item.contexts[0] + " " + item.answers[static_cast<size_t>(item.gold)];
  return item;
}

class EvaluateTest : public ::testing::Test {
 protected:
  EvaluateTest() : tokenizer_(testing_model::SmallVocabulary(), "test") {
    for (int i = 0; i < 20; ++i) items_.push_back(Question(i));
  }

  EvaluationResult Run(const EvaluationOptions& options, uint64_t seed = 7) {
    SmallScorer small(testing_model::MakeSmallModel(0, seed));
    const Task& task = FindTask("mmlu");
    const Shots shots(task, items_, nullptr, 2, 0, "items");
    const PromptEncoder encoder(tokenizer_, 200);
    return Evaluate({.task = &task, .items = &items_, .shots = &shots}, encoder, small.scorer,
                    small.device->threads(), options);
  }
  EvaluationResult RunWithRecord(bool resume, EvaluationOptions options = {}, uint64_t seed = 7) {
    EvalRecord record(path(), {{"task", "mmlu"}, {"items", 20}}, resume);
    options.record = &record;
    return Run(options, seed);
  }
  std::string path() const { return folder_ / "r.jsonl"; }
  std::string Recorded() const { return std::string(MappedFile(path()).text()); }
  void Rewrite(const std::string& text) const { std::ofstream(path()) << text; }

  Tokenizer tokenizer_;
  std::vector<EvalItem> items_;
  TempFolder folder_;
};

TEST_F(EvaluateTest, CountsEachGroupAndAll) {
  const auto result = Run({});
  EXPECT_TRUE(result.is_whole);
  EXPECT_EQ(result.items, 20);
  ASSERT_THAT(result.groups, SizeIs(2));
  EXPECT_EQ(result.groups[0].name, "even");
  EXPECT_EQ(result.groups[1].items, 10);
  ASSERT_THAT(result.figures, SizeIs(1));
  EXPECT_NEAR(result.figures[0].value.mean,
              (result.groups[0].figures[0].value.mean + result.groups[1].figures[0].value.mean) / 2,
              1e-12);
}

TEST_F(EvaluateTest, OneByOneTheRecordIsTheSame) {
  RunWithRecord(false);
  const std::string together = Recorded();
  Rewrite("");
  RunWithRecord(false, {.one_by_one = true});
  EXPECT_EQ(Recorded(), together);
  EXPECT_EQ(std::count(together.begin(), together.end(), '\n'), 21);
}

TEST_F(EvaluateTest, GoesOnFromAnyByteOfTheRecord) {
  const auto whole = RunWithRecord(false);
  const std::string record = Recorded();
  const size_t head = record.find('\n') + 1;
  for (const size_t size : {head, head + 10, record.size() / 2, record.size() - 1, record.size()}) {
    Rewrite(record.substr(0, size));
    const auto result = RunWithRecord(true);
    EXPECT_EQ(Recorded(), record) << size;
    EXPECT_EQ(result.figures[0].value.mean, whole.figures[0].value.mean);
    EXPECT_EQ(result.figures[0].value.error, whole.figures[0].value.error);
    EXPECT_EQ(result.items, 20);
  }
}

TEST_F(EvaluateTest, CancelledItKeepsWhatItHas) {
  const std::atomic<bool> cancelled = true;
  const auto result = RunWithRecord(false, {.cancelled = &cancelled});
  EXPECT_FALSE(result.is_whole);
  EXPECT_EQ(result.items, 0);
  EXPECT_TRUE(RunWithRecord(true).is_whole);
}

TEST_F(EvaluateTest, ARecordOfSomethingElseIsRefused) {
  RunWithRecord(false);
  EXPECT_THAT(ErrorOf([&] { RunWithRecord(false); }), HasSubstr("is already there"));
  EXPECT_THAT(ErrorOf([&] { RunWithRecord(true, {}, 8); }),
              HasSubstr("it is of another model, device or setting"));
  EXPECT_THAT(ErrorOf([&] {
                EvalRecord(path(), {{"task", "mmlu"}, {"items", 3}}, true);
              }),
              HasSubstr("is of another evaluation: its items is 20 but must be 3"));
  std::string record = Recorded();
  Rewrite(record + record.substr(record.find('\n') + 1));
  EXPECT_THAT(ErrorOf([&] { RunWithRecord(true); }), HasSubstr("has 40 items but there are 20"));
  Rewrite(record.substr(0, record.find('\n') + 1) + "{\"index\": 5}\n");
  EXPECT_THAT(ErrorOf([&] { RunWithRecord(true); }),
              HasSubstr("r.jsonl:2: index is 5 but must be 0"));
  Rewrite("no json\n");
  EXPECT_THAT(ErrorOf([&] { RunWithRecord(true); }), HasSubstr("r.jsonl:1: not valid JSON"));
}

TEST_F(EvaluateTest, AnItemThatCannotBeAskedIsNamed) {
  items_[4].continuations[1] = " " + std::string(300, 'x');
  EXPECT_THAT(ErrorOf([&] { Run({}); }), HasSubstr("mmlu: item 5: "));
}

}  // namespace
}  // namespace cadre
