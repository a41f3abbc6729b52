#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cadre {
namespace {

// All that is shown of `text` when it comes in pieces of `size` bytes.
std::string Shown(std::vector<std::string> stops, const std::string& text, size_t size) {
  StopStrings filter(std::move(stops));
  std::string shown;
  for (size_t i = 0; i < text.size(); i += size) shown += filter.Push(text.substr(i, size));
  return shown + filter.Flush();
}

TEST(StopStrings, CutsBeforeTheMatchHoweverTheTextIsCut) {
  for (size_t size = 1; size <= 12; ++size) {
    EXPECT_EQ(Shown({"END"}, "one EN two END three", size), "one EN two ");
    EXPECT_EQ(Shown({"aab"}, "aaaab", size), "aa");
    EXPECT_EQ(Shown({"abc", "b"}, "xabc", size), "xa");  // "b" is complete first
    EXPECT_EQ(Shown({"c", "abc"}, "xabc", size), "x");   // both complete here: the longer
    EXPECT_EQ(Shown({"never"}, "neve", size), "neve");
  }
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStrings filter({"\n\nUser:"});
  EXPECT_EQ(filter.Push("hello\n"), "hello");
  EXPECT_EQ(filter.Push("\n"), "");
  EXPECT_EQ(filter.Push("x"), "\n\nx");
  EXPECT_FALSE(filter.stopped());
  EXPECT_EQ(filter.Push("\n\nUser:hidden"), "");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.Push("more"), "");
  EXPECT_EQ(filter.Flush(), "");
}

TEST(StopStrings, RefusesEmptyAndInvalidStrings) {
  EXPECT_THROW(StopStrings({""}), Error);
  EXPECT_THROW(StopStrings({"\xA9"}), Error);
}

}  // namespace
}  // namespace cadre
