#include "plan/routing.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/testing.h"
#include "model/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using model_testing::TinyConfig;

ModelConfig Mixtral() {
  ModelConfig config;
  config.num_layers = 32;
  config.router = {.num_experts = 8, .top_k = 2};
  return config;
}

// Pairs of neighbours that share an expert.
double Shared(const RoutingTrace& trace, int64_t layer) {
  int64_t shared = 0;
  for (int64_t t = 0; t + 1 < trace.num_tokens(); ++t) {
    const auto &a = trace.At(layer, t), &b = trace.At(layer, t + 1);
    bool any = false;
    for (const int32_t expert : a) any = any || expert == b[0] || expert == b[1];
    shared += any ? 1 : 0;
  }
  return static_cast<double>(shared) / static_cast<double>(trace.num_tokens() - 1);
}

std::string Write(const TempFolder& folder, const std::string& name, const std::string& text) {
  std::ofstream(folder / name) << text;
  return folder / name;
}

TEST(PublishedLocality, NeighboursShareExpertsAsOftenAsInThePaper) {
  const auto trace = PublishedLocality(Mixtral(), 40000, 3);
  EXPECT_NEAR(Shared(trace, 0), .480, .01);
  EXPECT_NEAR(Shared(trace, 31), .509, .01);
  EXPECT_NEAR((Shared(trace, 15) + Shared(trace, 16)) / 2, .637, .012);
}

TEST(RoutingTrace, UnionsNameEachExpertOnceAndComeRound) {
  const RoutingTrace trace({{{3, 1}, {1, 2}}});
  EXPECT_EQ(trace.Union(0, 0, 2), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(trace.Union(0, 1, 1), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(trace.Union(0, 5, 100), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(trace.At(0, 2), (std::vector<int32_t>{3, 1}));
}

TEST(ReadRouting, WithoutFilesAssumes) {
  const auto statistics = ReadRouting({}, Mixtral(), 1);
  EXPECT_TRUE(statistics.is_assumed);
  EXPECT_EQ(statistics.trace_source.find("assumed"), 0u);
  EXPECT_EQ(statistics.foreseen_source, "assumed");
}

TEST(ReadRouting, TakesATraceAndTheCountersOfARun) {
  const TempFolder folder;
  const auto trace =
      Write(folder, "routing.json",
            R"({"layers": [{"experts": [[0, 1], [2, -1]]}, {"experts": [[3, 0], [1, 2]]}]})");
  const auto run =
      Write(folder, "run.json",
            R"({"experts": {"slots": 4, "hits": 60, "misses": 40, "foreseen": 0.75}})");
  for (const auto& files : {std::vector{trace, run}, std::vector{run, trace}}) {
    const auto statistics = ReadRouting(files, TinyConfig(), 1);
    EXPECT_FALSE(statistics.is_assumed);
    EXPECT_EQ(statistics.trace.num_tokens(), 2);
    EXPECT_EQ(statistics.trace.At(0, 1), (std::vector<int32_t>{2}));
    EXPECT_DOUBLE_EQ(statistics.foreseen, .75);
  }
}

TEST(ReadRouting, CountersAloneAreFitted) {
  const TempFolder folder;
  const auto loose =
      Write(folder, "a.json", R"({"experts_fetched": {"slots": 64, "hits": 26, "misses": 74}})");
  const auto close =
      Write(folder, "b.json", R"({"experts_fetched": {"slots": 64, "hits": 70, "misses": 30}})");
  EXPECT_LT(Shared(ReadRouting({loose}, Mixtral(), 1).trace, 3), .55);  // chance: .46
  EXPECT_GT(Shared(ReadRouting({close}, Mixtral(), 1).trace, 3), .75);
}

TEST(ReadRouting, NamesWhatIsWrong) {
  const TempFolder folder;
  const auto error = [&](const std::string& text) {
    return ErrorOf([&] { ReadRouting({Write(folder, "x.json", text)}, TinyConfig(), 1); });
  };
  EXPECT_NE(error(R"({"loss": 1})").find("x.json: is neither routing"), std::string::npos);
  EXPECT_NE(error("[]").find("is neither routing"), std::string::npos);
  EXPECT_NE(error(R"({"layers": []})").find("of 0 layers but the model has 2"), std::string::npos);
  EXPECT_NE(error(R"({"layers": [{"experts": [[9, 0]]}, {"experts": [[0, 1]]}]})")
                .find("layer 0, token 0 names expert 9 but the model has 4"),
            std::string::npos);
  EXPECT_NE(error(R"({"layers": [{"experts": [[1, 0]]}, {"experts": [[0, 1], [1, 2]]}]})")
                .find("layer 1 has 2 tokens but layer 0 has 1"),
            std::string::npos);
  EXPECT_NE(error(R"({"layers": [3, 4]})").find("layer 0 has no list"), std::string::npos);
  EXPECT_NE(error(R"({"experts": {"slots": 99, "hits": 1, "misses": 1}})").find("slots is 99"),
            std::string::npos);
}

}  // namespace
}  // namespace cadre
