#include "cli/routing_table.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

Vocabulary Letters() {
  Vocabulary vocabulary;
  vocabulary.pieces = {{"<unk>", 0, PieceType::kUnknown},
                       {"<s>", 0, PieceType::kControl},
                       {"</s>", 0, PieceType::kControl},
                       {"a", 0},
                       {"\xE5\xBC\x95", -1}};
  vocabulary.unk_id = 0;
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  return vocabulary;
}

Routing OneRow(std::vector<int32_t> experts, std::vector<float> gates) {
  const RouterConfig config{.num_experts = 8, .top_k = std::ssize(experts)};
  Routing routing;
  routing.Reserve(2, config);
  routing.SetTokens(2, config);
  for (size_t i = 0; i < experts.size(); ++i) {
    routing.experts.row(0)[i] = 7;
    routing.experts.row(1)[i] = experts[i];
    routing.gates.row(1)[i] = gates[i];
  }
  return routing;
}

TEST(RoutingTable, ShowsTheLastRowOfEachStepAtTheChosenLayers) {
  RoutingTable table({0, 2});
  for (int64_t layer = 0; layer < 3; ++layer)
    table.Observe(layer, OneRow({static_cast<int32_t>(layer), 5}, {0.75f, 0.25f}));
  table.Commit(3);
  table.Commit(4);  // no step came: no row
  for (int64_t layer = 0; layer < 3; ++layer) table.Observe(layer, OneRow({1, -1}, {1, 0}));
  table.Commit(4);
  const Tokenizer tokenizer(Letters(), "test");
  EXPECT_EQ(table.ToText(tokenizer, false),
            "                  layer 0         layer 2       \n"
            "a                 0  75%  5  25%  2  75%  5  25%\n"
            "\xE5\xBC\x95                1 100%          1 100%        \n");
  const OrderedJson json = table.ToJson(tokenizer);
  EXPECT_EQ(json["layers"].dump(), "[0,2]");
  EXPECT_EQ(json["tokens"][0]["experts"].dump(), "[[0,5],[2,5]]");
  EXPECT_EQ(json["tokens"][1]["gates"].dump(), "[[1.0],[1.0]]");
}

TEST(ParseLayers, TakesFirstMiddleAndLastUnlessTold) {
  EXPECT_EQ(ParseLayers("", 32), (std::vector<int64_t>{0, 16, 31}));
  EXPECT_EQ(ParseLayers("", 1), (std::vector<int64_t>{0}));
  EXPECT_EQ(ParseLayers("5,1,5", 6), (std::vector<int64_t>{1, 5}));
  for (const char* wrong : {"6", "-1", "nano", "1,,2", "1 2"})
    EXPECT_THROW(ParseLayers(wrong, 6), Error) << wrong;
}

}  // namespace
}  // namespace cadre
