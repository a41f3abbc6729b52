#include "align/reference_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;

class ReferenceCache : public ::testing::Test {
 protected:
  // A value that no short decimal writes.
  static ReferencePair ValueOf(int64_t i) {
    return {-std::sqrt(static_cast<double>(i) + 2), -std::exp(static_cast<double>(i % 40) - 20)};
  }

  std::optional<std::vector<ReferencePair>> Get(const OrderedJson& key, bool must_fit = false) {
    return CachedReference(
        path_, key, kPairs, 4, must_fit,
        [&](int64_t begin, int64_t end) {
          std::vector<ReferencePair> pairs;
          for (int64_t i = begin; i < end; ++i) pairs.push_back(ValueOf(i));
          computed_ += end - begin;
          if (stop_after_ > 0 && computed_ >= stop_after_) stop_ = true;
          return pairs;
        },
        &stop_);
  }

  void ExpectValues(const std::optional<std::vector<ReferencePair>>& pairs) {
    ASSERT_TRUE(pairs);
    ASSERT_EQ(std::ssize(*pairs), kPairs);
    for (int64_t i = 0; i < kPairs; ++i) {
      EXPECT_EQ((*pairs)[static_cast<size_t>(i)].chosen, ValueOf(i).chosen);
      EXPECT_EQ((*pairs)[static_cast<size_t>(i)].rejected, ValueOf(i).rejected);
    }
  }

  static constexpr int64_t kPairs = 41;
  const OrderedJson key_ = {{"model", "abc"}, {"data", "def"}};
  base_testing::TempFolder folder_;
  std::string path_ = folder_ / "reference.jsonl";
  int64_t computed_ = 0;
  int64_t stop_after_ = 0;
  std::atomic<bool> stop_ = false;
};

TEST_F(ReferenceCache, IsComputedOnceAndReadBackToTheBit) {
  ExpectValues(Get(key_));
  EXPECT_EQ(computed_, kPairs);
  ExpectValues(Get(key_, true));
  EXPECT_EQ(computed_, kPairs);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".partial"));
}

TEST_F(ReferenceCache, GoesOnWithWhatAStoppedRunHasLeft) {
  stop_after_ = 20;
  EXPECT_FALSE(Get(key_));
  EXPECT_FALSE(std::filesystem::exists(path_));
  stop_ = false;
  stop_after_ = 0;
  ExpectValues(Get(key_));
  EXPECT_EQ(computed_, kPairs);
}

TEST_F(ReferenceCache, BelievesNoLineThatAKillHasCutShort) {
  ExpectValues(Get(key_));
  std::string text;
  {
    std::ifstream file(path_);
    text = {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  for (size_t cut = text.size() - 40; cut < text.size(); cut += 7) {
    std::filesystem::remove(path_);
    std::ofstream(path_ + ".partial") << text.substr(0, cut);
    computed_ = 0;
    ExpectValues(Get(key_));
    EXPECT_LT(computed_, 4);
    EXPECT_GT(computed_, 0);
  }
}

TEST_F(ReferenceCache, IsComputedAnewForAnythingElse) {
  ExpectValues(Get(key_));
  OrderedJson other = key_;
  other["data"] = "xyz";
  EXPECT_THAT(ErrorOf([&] { Get(other, true); }), HasSubstr("is of another data than this run"));
  ExpectValues(Get(other));
  EXPECT_EQ(computed_, 2 * kPairs);
  std::ofstream(path_) << "{\"model\":\"abc\",\"data\":\"xyz\"}\n[1,2]\n";
  ExpectValues(Get(other));
  EXPECT_EQ(computed_, 3 * kPairs);
}

TEST_F(ReferenceCache, SaysWhenItCannotBeWritten) {
  path_ = folder_ / "none/reference.jsonl";
  EXPECT_THAT(ErrorOf([&] { Get(key_); }), HasSubstr("cannot be written"));
}

}  // namespace
}  // namespace cadre
