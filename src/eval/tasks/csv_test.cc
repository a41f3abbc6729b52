#include "eval/tasks/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Row = std::vector<std::string>;

std::vector<Row> Rows(std::string_view text, std::vector<std::string>* names = nullptr) {
  std::vector<Row> rows;
  ParseCsv(text, "t.csv", [&](Row row, const std::string& name) {
    rows.push_back(std::move(row));
    if (names != nullptr) names->push_back(name);
  });
  return rows;
}

TEST(ParseCsv, ReadsQuotedFieldsWithAllThatTheyMayHold) {
  EXPECT_THAT(Rows("a,b\r\n\"1,\"\"x\"\"\n2\",\n"),
              ElementsAre(Row{"a", "b"}, Row{"1,\"x\"\n2", ""}));
  EXPECT_THAT(Rows("a"), ElementsAre(Row{"a"}));
  EXPECT_THAT(Rows("a,\n\nb"), ElementsAre(Row{"a", ""}, Row{"b"}));
}

TEST(ParseCsv, NamesTheFirstLineOfARecord) {
  std::vector<std::string> names;
  Rows("a\n\"b\nc\"\nd\n", &names);
  EXPECT_THAT(names, ElementsAre("t.csv:1", "t.csv:2", "t.csv:4"));
}

TEST(ParseCsv, RefusesQuotesThatMakeNoField) {
  EXPECT_THAT(ErrorOf([] { Rows("a\n\"b"); }), HasSubstr("t.csv:2: a quote is never closed"));
  EXPECT_THAT(ErrorOf([] { Rows("a\"b"); }), HasSubstr("t.csv:1: a quote stands within"));
  EXPECT_THAT(ErrorOf([] { Rows("\"a\"b"); }), HasSubstr("t.csv:1: a field goes on"));
}

}  // namespace
}  // namespace cadre
