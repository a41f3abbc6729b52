#include "eval/tasks/shots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;

std::vector<EvalItem> Numbered(int count, const std::string& group = "") {
  std::vector<EvalItem> items;
  for (int i = 0; i < count; ++i) {
    EvalItem item;
    item.group = group;
    item.example = group + std::to_string(i);
    items.push_back(item);
  }
  return items;
}

TEST(Shots, FirstOnesOfTheGroupInTheirOrder) {
  auto pool = Numbered(3, "x");
  for (auto& item : Numbered(4, "y")) pool.push_back(item);
  auto items = Numbered(1, "y");
  items[0].example = "q";
  items[0].description = "About y.\n\n";
  const Shots shots(FindTask("mmlu"), items, &pool, 2, 0, "dev.jsonl");
  EXPECT_EQ(shots.Before(0), "About y.\n\ny0\n\ny1\n\n");
  EXPECT_THAT(ErrorOf([&] { Shots(FindTask("mmlu"), items, &pool, 5, 0, "dev.jsonl"); }),
              HasSubstr("dev.jsonl: holds 4 examples of y but must hold 5"));
}

TEST(Shots, NoItemIsItsOwnExample) {
  const auto items = Numbered(4);
  const Shots first(FindTask("mmlu"), items, nullptr, 2, 0, "f");
  EXPECT_EQ(first.Before(0), "1\n\n2\n\n");
  EXPECT_EQ(first.Before(3), "0\n\n1\n\n");
  const Shots drawn(FindTask("arc_easy"), items, nullptr, 3, kHarnessShotSeed, "f");
  for (size_t i = 0; i < items.size(); ++i)
    EXPECT_EQ(drawn.Before(i).find(std::to_string(i)), std::string::npos) << drawn.Before(i);
  EXPECT_THAT(ErrorOf([&] { Shots(FindTask("arc_easy"), items, nullptr, 4, 1, "f"); }),
              HasSubstr("f: holds 4 examples but must hold 5"));
}

// random.Random(1234).sample of ten, three at a time: [7, 1, 0], [1, 0, 9].
TEST(Shots, AreDrawnAsTheHarnessDrawsThem) {
  const auto pool = Numbered(10);
  auto items = Numbered(2);
  for (auto& item : items) item.example = "q";
  const Shots with_test_set(FindTask("arc_easy"), items, &pool, 3, kHarnessShotSeed, "f");
  EXPECT_EQ(with_test_set.Before(0), "7\n\n1\n\n0\n\n");
  EXPECT_EQ(with_test_set.Before(1), "1\n\n0\n\n9\n\n");
  // Without a test set it draws one more and leaves it out.
  const Shots without(FindTask("piqa"), items, &pool, 2, kHarnessShotSeed, "f");
  EXPECT_EQ(without.Before(0), "7\n\n1\n\n");
  EXPECT_EQ(without.Before(1), "1\n\n0\n\n");
}

}  // namespace
}  // namespace cadre
