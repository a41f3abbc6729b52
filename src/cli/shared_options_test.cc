#include "cli/shared_options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "cli/model_path.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

TEST(ParseIds, ReadsNumbersBetweenSpacesCommasAndLineEnds) {
  EXPECT_EQ(ParseIds(" 1 2,3\n4 "), (std::vector<int32_t>{1, 2, 3, 4}));
  EXPECT_TRUE(ParseIds(" ,\n").empty());
}

TEST(ParseIds, RefusesWhatIsNoId) {
  for (const char* wrong : {"1 x", "1.5", "99999999999", "1;2", "0x10"})
    EXPECT_THROW(ParseIds(wrong), Error) << wrong;
}

TEST(ModelOptions, WaitForExpertsUnlessTheyAreToldOtherwise) {
  ModelOptions options;
  EXPECT_EQ(options.Misses().on_miss, OnMiss::kWait);
  options.on_miss = "next-best";
  options.miss_wait_ms = 20;
  EXPECT_EQ(options.Misses().on_miss, OnMiss::kNextBest);
  EXPECT_DOUBLE_EQ(options.Misses().most_wait_s, 0.02);
  options.low_bit = "copy.gguf";
  EXPECT_THROW(options.Misses(), CLI::ValidationError);
  options.on_miss = "";  // a copy is there to be used
  EXPECT_EQ(options.Misses().on_miss, OnMiss::kLowBit);
  options.on_miss = "low-bit";
  EXPECT_EQ(options.Misses().on_miss, OnMiss::kLowBit);
  options.low_bit = "";
  EXPECT_THROW(options.Misses(), CLI::ValidationError);
}

TEST(ResolveModel, TakesAPathBeforeABundledName) {
  const fs::path folder = fs::temp_directory_path() / ("cadre-models-" + std::to_string(getpid()));
  fs::create_directories(folder / "nano");
  const std::vector<std::string> folders = {"/nowhere", folder.string()};
  EXPECT_EQ(ResolveModel("nano", folders), (folder / "nano").string());
  EXPECT_EQ(ResolveModel((folder / "nano").string(), {}), (folder / "nano").string());
  EXPECT_THROW(ResolveModel("other", folders), Error);
  EXPECT_THROW(ResolveModel("", folders), Error);
  EXPECT_THROW(ResolveModel("../" + folder.filename().string() + "/nano", {folder.string()}),
               Error);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace cadre
