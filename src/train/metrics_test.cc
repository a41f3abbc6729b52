#include "train/metrics.h"

#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::TempFolder;

class Metrics : public ::testing::Test {
 protected:
  // What is left of `text` when a run goes on from `last_step`.
  std::string Kept(const std::string& text, int64_t last_step) {
    WriteFileAtomically(path_, text);
    { const MetricsLog log(path_, last_step, nullptr); }
    return Text();
  }
  std::string Text() const { return std::string(MappedFile(path_).text()); }

  TempFolder folder_;
  const std::string path_ = folder_ / "metrics.jsonl";
};

const std::string kOne = "{\"step\":1,\"loss\":2.5}\n", kTwo = "{\"step\":2}\n",
                  kThree = "{\"step\":3}\n";

TEST_F(Metrics, WritesALinePerStepAtOnce) {
  std::vector<std::string> seen;
  MetricsLog log(path_, 0, [&](const std::string& line) { seen.push_back(line); });
  log.Write({{"step", 1}, {"loss", 2.5}});
  EXPECT_EQ(Text(), kOne);  // before the log closes
  log.Write({{"step", 2}});
  EXPECT_EQ(Text(), kOne + kTwo);
  EXPECT_EQ(seen, (std::vector<std::string>{"{\"step\":1,\"loss\":2.5}", "{\"step\":2}"}));
}

TEST_F(Metrics, DropsTheStepsThatWillBeDoneAgain) {
  EXPECT_EQ(Kept(kOne + kTwo + kThree, 2), kOne + kTwo);
  EXPECT_EQ(Kept(kOne + kTwo + kThree, 3), kOne + kTwo + kThree);
  EXPECT_EQ(Kept(kOne + kTwo + kThree, 9), kOne + kTwo + kThree);
  EXPECT_EQ(Kept(kOne + kTwo + kThree, 0), "");
}

TEST_F(Metrics, DropsALineThatAKillCutShort) {
  EXPECT_EQ(Kept(kOne + "{\"step\":2,\"lo", 5), kOne);
  EXPECT_EQ(Kept(kOne + "{\"step\":2}", 5), kOne);  // whole but for its end of line
  EXPECT_EQ(Kept(kOne + "garbage\n" + kTwo, 5), kOne);
  EXPECT_EQ(Kept(kOne + "{\"loss\":1}\n", 5), kOne);
}

TEST_F(Metrics, GoesOnBehindWhatWasKept) {
  Kept(kOne + kTwo + kThree, 1);
  MetricsLog log(path_, 1, nullptr);
  log.Write({{"step", 2}});
  EXPECT_EQ(Text(), kOne + kTwo);
}

TEST_F(Metrics, NamesAFileItCannotWrite) {
  const std::string bad = folder_ / "no/such/metrics.jsonl";
  EXPECT_NE(base_testing::ErrorOf([&] { const MetricsLog log(bad, 0, nullptr); }).find(bad),
            std::string::npos);
}

}  // namespace
}  // namespace cadre
