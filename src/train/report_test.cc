#include "train/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/testing.h"
#include "train/report_chart.h"
#include "train/report_loads.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

OrderedJson Line(int step) {
  OrderedJson line{{"step", step},
                   {"tokens", step * 100},
                   {"loss", 5.0 - 0.01 * step},
                   {"cross_entropy", 4.9 - 0.01 * step},
                   {"lr", 1e-3},
                   {"grad_norm", 1.0 / step},
                   {"balance", 2.0},
                   {"tokens_per_s", 100},
                   {"expert_load", {{0.5, 0.5}, {0.99, 0.01}}},
                   {"load_entropy", {1.0, 0.08}},
                   {"drop_rate", {0.0, 0.25}},
                   {"anchor", 0.01},
                   {"collapsed_layers", {1}}};
  if (step % 50 == 0) {
    line["score"] = 4 + std::abs(step - 100) / 100.0;
    line["valid"] = {{"en", {{"loss", 4.5}, {"bits_per_byte", 2.0}}},
                     {"router_drift", {{"changed", 0.25}, {"layers", {0.125, 0.375}}}}};
  }
  return line;
}

RunRecord SomeRecord() {
  RunRecord record;
  for (int step = 1; step <= 200; ++step) record.Add(Line(step));
  return record;
}

TEST(Report, ShowsWhatARunHas) {
  const std::string page = ReportPage(
      SomeRecord(), {{"name", "nano"}, {"train.steps", 400}, {"data.train", {"a.txt", "b.txt"}}});
  EXPECT_THAT(page, AllOf(HasSubstr("<title>nano: report of a run</title>"), HasSubstr("of 400"),
                          HasSubstr("best validation, step 100"), HasSubstr("validation, en"),
                          HasSubstr("Learning rate"), HasSubstr("Gradient norm")));
  EXPECT_THAT(page, AllOf(HasSubstr("Entropy of the load"), HasSubstr("Dropped choices"),
                          HasSubstr("<h4>Layer 1</h4>"), HasSubstr("Drift by layer"),
                          HasSubstr("<h3>Anchor</h3>"), HasSubstr("Bits per byte"),
                          HasSubstr("Alarms of the routers"),
                          HasSubstr("Step 50: layer 1: the router has collapsed")));
  EXPECT_THAT(page, AllOf(HasSubstr("data.train"), HasSubstr("[&quot;a.txt&quot;,&quot;b.txt")));
  EXPECT_THAT(page, Not(HasSubstr("Preferences")));
}

TEST(Report, ShowsPreferencesOfATuning) {
  RunRecord record;
  for (int step = 1; step <= 20; ++step) {
    record.Add({{"step", step},
                {"loss", 0.7},
                {"dpo_loss", 0.69},
                {"rewards/margins", 0.01 * step},
                {"rewards/accuracies", 0.75},
                {"logps/chosen", -40 - step},
                {"valid", {{"rewards/accuracies", 0.875}, {"accuracy_95", {0.7, 0.95}}}}});
  }
  const std::string page = ReportPage(record, Json::object());
  EXPECT_THAT(page, AllOf(HasSubstr("Preference tuning (DPO)"), HasSubstr("<h3>Margin</h3>"),
                          HasSubstr("<h3>Accuracy</h3>"), HasSubstr("95 % interval, low"),
                          HasSubstr("Log-probabilities"), HasSubstr("87.5 %")));
  EXPECT_THAT(page, Not(HasSubstr("Load of the experts")));
}

TEST(Report, AsksTheNetworkForNothing) {
  const std::string page = ReportPage(SomeRecord(), Json::object());
  for (const char* part : {"http:", "https:", "src=", "@import", "url(", "//cdn"})
    EXPECT_THAT(page, Not(HasSubstr(part)));
  EXPECT_EQ(Count(page, "href="), 1u);
  EXPECT_THAT(page, AllOf(HasSubstr("href=\"data:,\""), HasSubstr("default-src 'none'")));
}

TEST(Report, EscapesAllText) {
  const std::string bad = "</title><script>alert(1)</script>\"'&";
  RunRecord record;
  record.Add({{"step", 1},
              {"loss", 1},
              {bad, 1},
              {"tokens_of", {{bad, 1}}},
              {"valid", {{bad, {{"loss", 1}, {"bits_per_byte", 1}}}}}});
  const std::string page = ReportPage(record, {{"name", bad}, {bad, bad}});
  EXPECT_EQ(Count(page, "<script>"), 1u);  // ours
  EXPECT_EQ(Count(page, "</title>"), 1u);
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>")));
  EXPECT_THAT(page,
              HasSubstr("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
}

TEST(Report, NeverTellsOfNumbersThatAreNone) {
  RunRecord record;
  record.Add({{"step", 0}, {"loss", 1e308}, {"lr", 0}, {"grad_norm", -1}, {"balance", -1e308}});
  record.Add({{"step", 1}, {"loss", -1e308}, {"lr", 0}, {"grad_norm", 0}, {"z", 1e-300}});
  const std::string page = ReportPage(record, Json::object());
  for (const char* none : {"nan", "inf"}) {
    for (const char* around : {"\"{} ", " {}\"", "L{}", "M{}", " {}L", ">{}<", "-{}"})
      EXPECT_EQ(Count(page, fmt::format(fmt::runtime(around), none)), 0u) << around << none;
  }
}

TEST(Report, OfALongRunStaysSmall) {
  RunRecord record;
  for (int step = 1; step <= 20'000; ++step) {
    OrderedJson line = Line(step);
    line["expert_load"] = OrderedJson::array();
    for (int l = 0; l < 8; ++l) {
      OrderedJson layer = OrderedJson::array();
      for (int e = 0; e < 8; ++e) layer.push_back(((step * 7919 + e * l) % 101) / 101.0);
      line["expert_load"].push_back(layer);
    }
    record.Add(line);
  }
  EXPECT_LT(ReportPage(record, Json::object()).size(), size_t{2} << 20);
}

TEST(Report, IsMadeFromAFolder) {
  const TempFolder folder;
  const std::string out = folder / "page.html";
  EXPECT_THAT(ErrorOf([&] { WriteReport(folder.path(), out); }),
              HasSubstr("is no folder of a run: metrics.jsonl is missing"));
  WriteFileAtomically(folder / "metrics.jsonl", "");
  EXPECT_THAT(ErrorOf([&] { WriteReport(folder.path(), out); }), HasSubstr("has no step"));
  WriteFileAtomically(folder / "metrics.jsonl", Line(1).dump() + "\n{\"step\":2,");
  EXPECT_EQ(WriteReport(folder.path(), out).last_step(), 1);
  const std::string without = std::string(MappedFile(out).text());
  WriteFileAtomically(folder / "config.json", "{\"name\": \"from the folder\"}");
  WriteReport(folder.path(), out);
  EXPECT_THAT(std::string(MappedFile(out).text()), HasSubstr("<h1>from the folder</h1>"));
  EXPECT_THAT(without, HasSubstr("<h1>model</h1>"));
  WriteFileAtomically(folder / "config.json", "{");
  EXPECT_THAT(ErrorOf([&] { WriteReport(folder.path(), out); }), HasSubstr("config.json"));
}

TEST(LineChart, LeavesOutWhatThereIsNot) {
  Series series;
  series.Add(1, 2);
  EXPECT_EQ(LineChart({.title = "t", .lines = {{"a", nullptr}}}, 1), "");
  const std::string one = LineChart({.title = "t", .lines = {{"a", &series}, {"b", nullptr}}}, 1);
  EXPECT_EQ(Count(one, "class=\"line"), 1u);
  EXPECT_EQ(Count(one, "<tr>"), 2u);  // heads and a row
}

TEST(LineChart, DrawsStepsAndValuesToScale) {
  Series series;
  for (const int64_t step : {25, 50, 100}) series.Add(step, static_cast<double>(step));
  const std::string chart =
      LineChart({.title = "t", .lines = {{"a", &series}}, .from_zero = true}, 100);
  // From 0 to 104, four hundredths of room above; 300 high.
  EXPECT_THAT(chart, HasSubstr("d=\"M250.0 227.9L500.0 155.8L1000.0 11.5\""));
  EXPECT_THAT(chart, HasSubstr("<span style=\"top:42.31%\">60</span>"));
}

TEST(LineChart, TakesLogarithmsOnlyWhereTheyHelp) {
  Series wide, narrow, zero;
  for (int i = 0; i < 3; ++i) {
    wide.Add(i, std::pow(10.0, i));
    narrow.Add(i, 1.0 + i);
    zero.Add(i, i);
  }
  const auto axis = [](const Series& series) {
    const std::string chart =
        LineChart({.title = "t", .lines = {{"a", &series}}, .logarithmic = true}, 2);
    return chart.find(" 1\"><path class=\"grid\"") != std::string::npos;
  };
  EXPECT_TRUE(axis(wide));
  EXPECT_FALSE(axis(narrow));
  EXPECT_FALSE(axis(zero));
}

TEST(LoadMaps, ColourEvenDeadAndOverloadedExperts) {
  RunRecord record;
  for (int step = 1; step <= 4; ++step)
    record.Add({{"step", step}, {"expert_load", {{0.25, 0.25, 0.25, 0.25}, {0, 0, 0, 1}}}});
  const std::string maps = LoadMaps(record.load());
  EXPECT_THAT(maps, HasSubstr("<path class=\"h6\" d=\"M0 0h4v1h-4zM0 1h4v1h-4zM0 2h4v1h-4z"));
  EXPECT_THAT(maps, HasSubstr("<path class=\"h0\" d=\"M0 0h4v1h-4zM0 1h4v1h-4zM0 2h4v1h-4z\"/>"));
  EXPECT_THAT(maps, HasSubstr("<path class=\"h12\" d=\"M0 3h4v1h-4z\"/>"));  // 4 times
  EXPECT_THAT(maps, HasSubstr("<td>25.0 %</td>"));
  EXPECT_EQ(LoadMaps(LoadHistory()), "");
  RunRecord dense;
  dense.Add({{"step", 1}, {"expert_load", {{1.0}}}});
  EXPECT_EQ(LoadMaps(dense.load()), "");
}

}  // namespace
}  // namespace cadre
