#include "server/call_id.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace cadre {
namespace {

bool IsNineAlphanumerics(const std::string& id) {
  return id.size() == 9 && std::ranges::all_of(id, [](unsigned char c) { return isalnum(c); });
}

TEST(CallId, KeepsNineLettersOrDigits) { EXPECT_EQ(MappedCallId("AbC123xyZ"), "AbC123xyZ"); }

TEST(CallId, MapsOthersAlwaysToTheSame) {
  for (const char* id : {"call_abc", "x", "AbC123xy-", "0123456789", "caf\xC3\xA9 12345"}) {
    EXPECT_TRUE(IsNineAlphanumerics(MappedCallId(id))) << id;
    EXPECT_EQ(MappedCallId(id), MappedCallId(id));
  }
  EXPECT_NE(MappedCallId("call_1"), MappedCallId("call_2"));
}

TEST(CallId, LeavesNoneBeNone) {
  EXPECT_EQ(MappedCallId(""), "");
  EXPECT_EQ(MappedCallId("null"), "");
}

TEST(CallId, GivesEveryCallAnother) {
  std::set<std::string> ids;
  for (const char* request : {"chatcmpl-1", "chatcmpl-2"}) {
    for (size_t choice = 0; choice < 10; ++choice) {
      for (size_t index = 0; index < 10; ++index) ids.insert(MakeCallId(request, choice, index));
    }
  }
  EXPECT_EQ(ids.size(), 200u);
  EXPECT_TRUE(std::ranges::all_of(ids, IsNineAlphanumerics));
}

}  // namespace
}  // namespace cadre
