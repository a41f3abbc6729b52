#include "base/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cadre {
namespace {

TEST(ParseJson, RefusesDuplicateKeysOfOneObjectOnly) {
  EXPECT_THROW(ParseJson(R"({"a":1,"a":2})", "t"), Error);
  EXPECT_THROW(ParseJson(R"({"x":{"a":1,"b":{},"a":2}})", "t"), Error);
  EXPECT_NO_THROW(ParseJson(R"({"a":{"a":1},"b":{"a":1}})", "t"));
}

TEST(ParseJson, RefusesDeepNestingTrailingBytesAndBadUtf8) {
  EXPECT_THROW(ParseJson(std::string(100, '['), "t"), Error);
  EXPECT_THROW(ParseJson(std::string(1000000, '['), "t"), Error);
  EXPECT_THROW(ParseJson("{} x", "t"), Error);
  EXPECT_THROW(ParseJson("\"\xff\"", "t"), Error);
  EXPECT_THROW(ParseJson("", "t"), Error);
  EXPECT_THROW(ParseJson(std::string_view("{}\0x", 4), "t"), Error);
}

TEST(JsonInt, ChecksTypeAndRange) {
  const Json json =
      ParseJson(R"({"a":3,"b":3.5,"c":"3","d":18446744073709551615,"e":null,"f":-1})", "t");
  EXPECT_EQ(JsonInt(json, "a", 9, 1, 10, "t"), 3);
  EXPECT_EQ(JsonInt(json, "missing", 9, 1, 10, "t"), 9);
  EXPECT_EQ(JsonInt(json, "e", 9, 1, 10, "t"), 9);
  for (const char* key : {"b", "c", "d", "f"})
    EXPECT_THROW(JsonInt(json, key, 9, 1, 10, "t"), Error) << key;
}

}  // namespace
}  // namespace cadre
