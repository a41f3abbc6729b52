#include "server/http_target.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

TEST(HttpTarget, DecodesThePathAndKeepsTheQuery) {
  const auto target = ParseTarget("/v1/models/a%2Fb+c%20d/?x=%31&y=?");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/v1/models/a/b+c d");
  EXPECT_EQ(target->query, "x=%31&y=?");
  EXPECT_EQ(ParseTarget("/")->path, "/");
  EXPECT_EQ(ParseTarget("/a//")->path, "/a/");
  EXPECT_EQ(ParseTarget("*")->path, "*");
  EXPECT_EQ(ParseTarget("/%c3%A9")->path, "/\xc3\xa9");
}

TEST(HttpTarget, ReadsTheAbsoluteForm) {
  EXPECT_EQ(ParseTarget("http://host:80/a/b?c")->path, "/a/b");
  EXPECT_EQ(ParseTarget("https://host")->path, "/");
  EXPECT_EQ(ParseTarget("http://host?q")->path, "/");
  EXPECT_EQ(ParseTarget("http://host?q")->query, "q");
}

TEST(HttpTarget, RefusesWhatIsNoPath) {
  for (const char* target : {"", "a", "ftp://host/", "/%", "/%4", "/%4g", "/%00", "/%7f", "/%0A",
                             "/%ff", "/%c3", "/a%", "host:443"}) {
    EXPECT_FALSE(ParseTarget(target)) << target;
  }
}

TEST(HttpTarget, FindsTheNameInAHostHeader) {
  EXPECT_EQ(HostName("LocalHost:8080"), "localhost");
  EXPECT_EQ(HostName("127.0.0.1"), "127.0.0.1");
  EXPECT_EQ(HostName("[::1]:8080"), "[::1]");
  EXPECT_EQ(HostName("[::1"), "[::1");
  EXPECT_EQ(HostName(""), "");
}

}  // namespace
}  // namespace cadre
