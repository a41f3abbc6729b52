#include "train/run_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

RunRecord Record(const std::vector<OrderedJson>& lines) {
  RunRecord record;
  for (const auto& line : lines) record.Add(line);
  return record;
}

TEST(RunRecord, NamesFiguresByWhereTheyLie) {
  const RunRecord record = Record({{{"step", 1},
                                    {"loss", 2.5},
                                    {"text", "no figure"},
                                    {"load_entropy", {0.5, 0.75}},
                                    {"valid", {{"en", {{"loss", 3}}}, {"mean_loss", 4}}}}});
  EXPECT_EQ(record.Find("loss")->last(), 2.5);
  EXPECT_EQ(record.Find("load_entropy/1")->last(), 0.75);
  EXPECT_EQ(record.Find("valid/en/loss")->last(), 3);
  EXPECT_EQ(record.Find("valid/mean_loss")->points()[0].step, 1);
  EXPECT_EQ(record.Find("text"), nullptr);
  EXPECT_EQ(record.Find("step"), nullptr);
  EXPECT_EQ(record.last_step(), 1);
}

TEST(RunRecord, TellsALongListByItsMeanAndExtremes) {
  OrderedJson list = OrderedJson::array();
  for (int i = 0; i < 32; ++i) list.push_back(i);
  const RunRecord record = Record({{{"step", 1}, {"drop_rate", list}}});
  EXPECT_EQ(record.Find("drop_rate/mean")->last(), 15.5);
  EXPECT_EQ(record.Find("drop_rate/least")->last(), 0);
  EXPECT_EQ(record.Find("drop_rate/most")->last(), 31);
  EXPECT_EQ(record.series().size(), 3u);
}

TEST(RunRecord, PassesOverLinesThatAreNoStepAhead) {
  const RunRecord record = Record({{{"step", 2}, {"loss", 1}},
                                   {{"step", 2}, {"loss", 9}},
                                   {{"step", 1}, {"loss", 9}},
                                   {{"loss", 9}},
                                   {{"step", -3}, {"loss", 9}},
                                   {{"step", "3"}, {"loss", 9}},
                                   {{"step", 3}, {"loss", nullptr}},
                                   {{"step", 4}, {"loss", 5}}});
  EXPECT_THAT(record.Find("loss")->points(), SizeIs(2));
  EXPECT_EQ(record.Find("loss")->last(), 5);
}

TEST(RunRecord, ThinsOutALongRunWithoutLosingAStep) {
  RunRecord record;
  double sum = 0;
  for (int step = 1; step <= 100'000; ++step) {
    const double value = step % 1000 == 7 ? 50 : step % 10;
    sum += value;
    record.Add({{"step", step}, {"loss", value}, {"expert_load", {{0.25, 0.75}}}});
  }
  const auto& points = record.Find("loss")->points();
  EXPECT_LE(points.size(), 800u);
  EXPECT_GE(points.size(), 390u);
  double point_sums = 0, most = 0;
  int64_t count = 0, last = 0;
  for (const auto& point : points) {
    EXPECT_GT(point.step, last);
    last = point.step;
    point_sums += point.sum;
    count += point.count;
    most = std::max(most, point.max);
  }
  EXPECT_EQ(count, 100'000);
  EXPECT_EQ(last, 100'000);
  EXPECT_NEAR(point_sums, sum, 1e-6);
  EXPECT_EQ(most, 50);
  const auto& load = record.load();
  EXPECT_LE(load.columns().size(), 96u);
  EXPECT_EQ(load.columns().front().first_step, 1);
  EXPECT_EQ(load.columns().back().last_step, 100'000);
  for (size_t c = 1; c < load.columns().size(); ++c)
    EXPECT_EQ(load.columns()[c].first_step, load.columns()[c - 1].last_step + 1);
  EXPECT_NEAR(load.Share(load.columns()[3], 0, 1), 0.75, 1e-6);
}

TEST(RunRecord, KnowsTheBestValidation) {
  const RunRecord record = Record({{{"step", 0}, {"score", 0.5}},
                                   {{"step", 1}, {"score", 3.5}},
                                   {{"step", 2}, {"score", 2.5}},
                                   {{"step", 3}},
                                   {{"step", 4}, {"score", 2.5}}});
  EXPECT_EQ(record.best_step(), 2);
  EXPECT_EQ(record.best_score(), 2.5);
  // Older records have losses only.
  EXPECT_EQ(Record({{{"step", 1}, {"valid", {{"mean_loss", 2}}}}}).best_score(), 2);
  EXPECT_EQ(Record({{{"step", 1}, {"valid", {{"loss", 3}, {"pairs", 7}}}}}).best_score(), 3);
  EXPECT_EQ(
      Record({{{"step", 1}, {"valid", {{"a", {{"loss", 3}}}, {"b", {{"loss", 4}}}}}}}).best_score(),
      3.5);
  EXPECT_EQ(Record({{{"step", 1}, {"loss", 1}}}).best_step(), 0);
}

TEST(RunRecord, SetsOffAlarmsOfWhatLasts) {
  RunRecord record;
  std::vector<std::string> said;
  for (int step = 1; step <= 120; ++step) {
    for (const auto& sentence : record.Add({{"step", step},
                                            {"load_entropy", {0.9, 0.3}},
                                            {"dead_experts", {OrderedJson::array(), {3}}},
                                            {"collapsed_layers", {1}}}))
      said.push_back(sentence);
  }
  EXPECT_THAT(said, ElementsAre(HasSubstr("layer 1: expert 3 "),
                                HasSubstr("layer 1: the router has collapsed")));
  ASSERT_THAT(record.alarms(), SizeIs(2));
  EXPECT_EQ(record.alarms()[0].step, 50);
}

TEST(RunRecord, TakesLoadsOfOneShapeOnly) {
  RunRecord record;
  record.Add({{"step", 1}, {"expert_load", {{0.5, 0.5}, {1, 0}}}});
  record.Add({{"step", 2}, {"expert_load", {{0.5, 0.5}}}});
  record.Add({{"step", 3}, {"expert_load", {{0.5, 0.5}, {1}}}});
  record.Add({{"step", 4}, {"expert_load", {{0.5, 0.5}, {1, "x"}}}});
  record.Add({{"step", 5}, {"expert_load", 5}});
  EXPECT_EQ(record.load().num_layers(), 2);
  EXPECT_EQ(record.load().num_experts(), 2);
  EXPECT_THAT(record.load().columns(), SizeIs(1));
}

TEST(ReadRunRecord, EndsAtTheFirstLineThatCannotBeRead) {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  const std::string good = "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":3}\n";
  for (const char* rest : {"", "{\"step\":3,\"lo", "{\"step\":3,\"loss\":4}", "\xff\n", "[1]\n",
                           "garbage\n{\"step\":3,\"loss\":4}\n", "{\"step\":3,\"loss\":1e999}\n"}) {
    WriteFileAtomically(path, good + rest);
    EXPECT_EQ(ReadRunRecord(path).last_step(), 2) << rest;
  }
  WriteFileAtomically(path, "");
  EXPECT_EQ(ReadRunRecord(path).last_step(), -1);
  EXPECT_THAT(ReadRunRecord(path).alarms(), IsEmpty());
  EXPECT_THAT(ErrorOf([&] { ReadRunRecord(folder / "none.jsonl"); }), HasSubstr("none.jsonl"));
}

}  // namespace
}  // namespace cadre
