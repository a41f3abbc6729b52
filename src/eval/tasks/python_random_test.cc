#include "eval/tasks/python_random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cadre {
namespace {

using ::testing::ElementsAre;

// The numbers are those of CPython 3.11.
TEST(PythonRandom, DrawsWhatPythonDraws) {
  PythonRandom random(1234);
  EXPECT_THAT(random.Sample(10, 3), ElementsAre(7, 1, 0));
  EXPECT_THAT(random.Sample(10, 3), ElementsAre(1, 0, 9));
  EXPECT_THAT(random.Sample(1000, 5), ElementsAre(100, 784, 363, 242, 17));
  EXPECT_THAT(random.Sample(60, 10), ElementsAre(1, 50, 59, 22, 41, 39, 30, 54, 29, 9));
  EXPECT_THAT(random.Sample(200, 10), ElementsAre(23, 46, 182, 29, 3, 128, 124, 63, 16, 170));
  EXPECT_THAT(random.Sample(86, 10), ElementsAre(69, 59, 8, 76, 11, 65, 74, 5, 34, 71));
  EXPECT_THAT(random.Sample(85, 6), ElementsAre(8, 82, 38, 61, 45, 34));
}

TEST(PythonRandom, TakesSeedsOfMoreThan32Bits) {
  PythonRandom random((uint64_t{1} << 40) + 7);
  EXPECT_THAT(random.Sample(100000, 4), ElementsAre(80439, 97953, 83823, 74762));
}

}  // namespace
}  // namespace cadre
