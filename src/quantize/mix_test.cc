#include "quantize/mix.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace cadre {
namespace {

// What llama-quantize 0.7.0 plans (--dry-run) for a model of so many layers, heads, heads of keys
// and values, and experts. In a row: token_embd, output, attn_q, attn_k, attn_v, attn_output,
// ffn_gate, ffn_up, ffn_down; one character is the type of all layers, more are a layer each. -: no
// such tensor.
struct Expected {
  const char* mix;
  const char* types;
};
struct Shape {
  const char* name;
  int64_t layers, heads, kv_heads, experts;
  Expected mixes[16];
};

// 2 3 4 5 6: Q2_K to Q6_K; 8: Q8_0; a b: Q4_0, Q4_1; c d: Q5_0, Q5_1; n x: IQ4_NL, IQ4_XS.
// clang-format off
const Shape kShapes[] = {
  {"Nano", 4, 8, 4, 8, {
    {"Q8_0", "8 8 8 8 8 8 8 8 8"},
    {"Q6_K", "6 6 6 8 8 6 6 6 6"},
    {"Q5_1", "d 6 d 8 8 d d d d"},
    {"Q5_K_M", "5 6 5 8 8 5 5 5 5566"},
    {"Q5_K_S", "5 6 5 8 8 5 5 5 5"},
    {"Q5_0", "c 6 c 8 8 c c c c"},
    {"Q4_1", "b 6 b 8 8 b b b b"},
    {"Q4_K_M", "4 6 4 8 8 5 4 4 4466"},
    {"Q4_K_S", "4 6 4 8 8 5 4 4 4"},
    {"Q4_0", "a 6 a 8 8 a a a a"},
    {"IQ4_NL", "n 6 n 8 8 5 n n n"},
    {"IQ4_XS", "x 6 x 8 8 5 x x x"},
    {"Q3_K_L", "3 6 3 8 8 3 3 3 5"},
    {"Q3_K_M", "3 6 3 8 8 5 3 3 4"},
    {"Q3_K_S", "3 6 3 8 8 5 3 3 3"},
    {"Q2_K", "2 6 2 8 8 5 2 2 3"},
  }},
  {"Mixtral8x7B", 32, 32, 8, 8, {
    {"Q8_0", "8 8 8 8 8 8 8 8 8"},
    {"Q6_K", "6 6 6 8 8 6 6 6 6"},
    {"Q5_1", "d 6 d 8 8 d d d d"},
    {"Q5_K_M", "5 6 5 8 8 5 5 5 66665565565565565565565565566666"},
    {"Q5_K_S", "5 6 5 8 8 5 5 5 5"},
    {"Q5_0", "c 6 c 8 8 c c c c"},
    {"Q4_1", "b 6 b 8 8 b b b b"},
    {"Q4_K_M", "4 6 4 8 8 5 4 4 66664464464464464464464464466666"},
    {"Q4_K_S", "4 6 4 8 8 5 4 4 55554444444444444444444444444444"},
    {"Q4_0", "a 6 a 8 8 a a a a"},
    {"IQ4_NL", "n 6 n 8 8 5 n n 5555nnnnnnnnnnnnnnnnnnnnnnnnnnnn"},
    {"IQ4_XS", "x 6 x 8 8 5 x x 5555xxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"Q3_K_L", "3 6 3 8 8 3 3 3 5"},
    {"Q3_K_M", "3 6 3 8 8 5 3 3 55444444444444444444444444444444"},
    {"Q3_K_S", "3 6 3 8 8 5 3 3 3"},
    {"Q2_K", "2 6 2 8 8 5 2 2 3"},
  }},
  {"Mixtral8x22B", 56, 48, 8, 8, {
    {"Q8_0", "8 8 8 8 8 8 8 8 8"},
    {"Q6_K", "6 6 6 8 8 6 6 6 6"},
    {"Q5_1", "d 6 d 8 8 d d d d"},
    {"Q5_K_M", "5 6 5 8 8 5 5 5 66666665565565565565565565565565565565565565565566666666"},
    {"Q5_K_S", "5 6 5 8 8 5 5 5 5"},
    {"Q5_0", "c 6 c 8 8 c c c c"},
    {"Q4_1", "b 6 b 8 8 b b b b"},
    {"Q4_K_M", "4 6 4 8 8 5 4 4 66666664464464464464464464464464464464464464464466666666"},
    {"Q4_K_S", "4 6 4 8 8 5 4 4 55555554444444444444444444444444444444444444444444444444"},
    {"Q4_0", "a 6 a 8 8 a a a a"},
    {"IQ4_NL", "n 6 n 8 8 5 n n 5555555nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"},
    {"IQ4_XS", "x 6 x 8 8 5 x x 5555555xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"Q3_K_L", "3 6 3 8 8 3 3 3 5"},
    {"Q3_K_M", "3 6 3 8 8 5 3 3 55544444444444444444444444444444444444444444444444444444"},
    {"Q3_K_S", "3 6 3 8 8 5 3 3 3"},
    {"Q2_K", "2 6 2 8 8 5 2 2 3"},
  }},
  {"Mistral7B", 32, 32, 8, 1, {
    {"Q8_0", "8 8 8 8 8 8 8 8 8"},
    {"Q6_K", "6 6 6 6 6 6 6 6 6"},
    {"Q5_1", "d 6 d d d d d d d"},
    {"Q5_K_M", "5 6 5 5 66665565565565565565565565566666 5 5 5 66665565565565565565565565566666"},
    {"Q5_K_S", "5 6 5 5 5 5 5 5 5"},
    {"Q5_0", "c 6 c c c c c c c"},
    {"Q4_1", "b 6 b b b b b b b"},
    {"Q4_K_M", "4 6 4 4 66664464464464464464464464466666 4 4 4 66664464464464464464464464466666"},
    {"Q4_K_S", "4 6 4 4 55554444444444444444444444444444 4 4 4 55554444444444444444444444444444"},
    {"Q4_0", "a 6 a a a a a a a"},
    {"IQ4_NL", "n 6 n n 5 n n n 5555nnnnnnnnnnnnnnnnnnnnnnnnnnnn"},
    {"IQ4_XS", "x 6 x x 5 x x x 5555xxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"Q3_K_L", "3 6 3 3 5 5 3 3 5"},
    {"Q3_K_M", "3 6 3 3 55444444444444444444444444444444 4 3 3 55444444444444444444444444444444"},
    {"Q3_K_S", "3 6 3 3 3 3 3 3 3"},
    {"Q2_K", "2 6 2 2 4 3 2 2 3"},
  }},
  {"Llama70B", 80, 64, 8, 1, {
    {"Q8_0", "8 8 8 8 8 8 8 8 8"},
    {"Q6_K", "6 6 6 6 6 6 6 6 6"},
    {"Q5_1", "d 6 d d d d d d d"},
    {"Q5_K_M", "5 6 5 5 66666666665565565565565565565565565565565565565565565565565565565565566666666666 5 5 5 66666666665565565565565565565565565565565565565565565565565565565565566666666666"},
    {"Q5_K_S", "5 6 5 5 5 5 5 5 5"},
    {"Q5_0", "c 6 c c c c c c c"},
    {"Q4_1", "b 6 b b b b b b b"},
    {"Q4_K_M", "4 6 4 4 66666666665565565565565565565565565565565565565565565565565565565565566666666666 4 4 4 66666666664464464464464464464464464464464464464464464464464464464464466666666666"},
    {"Q4_K_S", "4 6 4 4 5 4 4 4 55555555554444444444444444444444444444444444444444444444444444444444444444444444"},
    {"Q4_0", "a 6 a a a a a a a"},
    {"IQ4_NL", "n 6 n n 5 n n n 5555555555nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"},
    {"IQ4_XS", "x 6 x x 5 x x x 5555555555xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"Q3_K_L", "3 6 3 3 5 5 3 3 5"},
    {"Q3_K_M", "3 6 3 3 5 4 3 3 55555444444444444444444444444444444444444444444444444444444444444444444444444444"},
    {"Q3_K_S", "3 6 3 3 5 3 3 3 3"},
    {"Q2_K", "2 6 2 2 5 3 2 2 3"},
  }},
  {"SixteenExperts", 24, 16, 4, 16, {
    {"Q8_0", "8 8 8 8 8 8 8 8 8"},
    {"Q6_K", "6 6 6 6 6 6 6 6 6"},
    {"Q5_1", "d 6 d d d d d d d"},
    {"Q5_K_M", "5 6 5 5 666556556556556556556666 5 5 5 666556556556556556556666"},
    {"Q5_K_S", "5 6 5 5 5 5 5 5 5"},
    {"Q5_0", "c 6 c c c c c c c"},
    {"Q4_1", "b 6 b b b b b b b"},
    {"Q4_K_M", "4 6 4 4 666446446446446446446666 4 4 4 666446446446446446446666"},
    {"Q4_K_S", "4 6 4 4 555544444444444444444444 4 4 4 555444444444444444444444"},
    {"Q4_0", "a 6 a a a a a a a"},
    {"IQ4_NL", "n 6 n n 5 n n n 555nnnnnnnnnnnnnnnnnnnnn"},
    {"IQ4_XS", "x 6 x x 5 x x x 555xxxxxxxxxxxxxxxxxxxxx"},
    {"Q3_K_L", "3 6 3 3 5 5 3 3 5"},
    {"Q3_K_M", "3 6 3 3 554444444444444444444444 4 3 3 544444444444444444444444"},
    {"Q3_K_S", "3 6 3 3 3 3 3 3 3"},
    {"Q2_K", "2 6 2 2 4 3 2 2 3"},
  }},
  {"TiedEmbeddings", 16, 16, 8, 1, {
    {"Q8_0", "8 - 8 8 8 8 8 8 8"},
    {"Q6_K", "6 - 6 6 6 6 6 6 6"},
    {"Q5_1", "6 - d d d d d d d"},
    {"Q5_K_M", "6 - 5 5 6655655655655666 5 5 5 6655655655655666"},
    {"Q5_K_S", "6 - 5 5 5 5 5 5 5"},
    {"Q5_0", "6 - c c c c c c c"},
    {"Q4_1", "6 - b b b b b b b"},
    {"Q4_K_M", "6 - 4 4 6644644644644666 4 4 4 6644644644644666"},
    {"Q4_K_S", "6 - 4 4 5555444444444444 4 4 4 5544444444444444"},
    {"Q4_0", "6 - a a a a a a a"},
    {"IQ4_NL", "6 - n n n n n n 55nnnnnnnnnnnnnn"},
    {"IQ4_XS", "6 - x x x x x x 55xxxxxxxxxxxxxx"},
    {"Q3_K_L", "6 - 3 3 5 5 3 3 5"},
    {"Q3_K_M", "6 - 3 3 5544444444444444 4 3 3 5444444444444444"},
    {"Q3_K_S", "6 - 3 3 3 3 3 3 3"},
    {"Q2_K", "6 - 2 2 3 3 2 2 3"},
  }},
};
// clang-format on

char Code(DType type) {
  switch (type) {
    case DType::kQ2_K:
      return '2';
    case DType::kQ3_K:
      return '3';
    case DType::kQ4_K:
      return '4';
    case DType::kQ5_K:
      return '5';
    case DType::kQ6_K:
      return '6';
    case DType::kQ8_0:
      return '8';
    case DType::kQ4_0:
      return 'a';
    case DType::kQ4_1:
      return 'b';
    case DType::kQ5_0:
      return 'c';
    case DType::kQ5_1:
      return 'd';
    case DType::kIQ4_NL:
      return 'n';
    case DType::kIQ4_XS:
      return 'x';
    default:
      return '?';
  }
}

constexpr TensorRole kColumns[] = {TensorRole::kEmbedding, TensorRole::kHead,  TensorRole::kQuery,
                                   TensorRole::kKey,       TensorRole::kValue, TensorRole::kOutput,
                                   TensorRole::kGate,      TensorRole::kUp,    TensorRole::kDown};

class MixOfShape : public ::testing::TestWithParam<Shape> {};

TEST_P(MixOfShape, IsWhatLlamaQuantizeMakes) {
  const Shape& shape = GetParam();
  ModelConfig config;
  config.num_layers = shape.layers;
  config.num_heads = shape.heads;
  config.num_kv_heads = shape.kv_heads;
  config.router.num_experts = shape.experts;
  EXPECT_EQ(std::size(shape.mixes), AllMixes().size());
  for (const Expected& expected : shape.mixes) {
    const Mix* mix = FindMix(expected.mix);
    ASSERT_NE(mix, nullptr) << expected.mix;
    std::istringstream columns(expected.types);
    for (const TensorRole role : kColumns) {
      std::string types;
      columns >> types;
      config.tie_embeddings = std::string(shape.name) == "TiedEmbeddings";
      if (types == "-") continue;
      std::string planned;
      for (size_t l = 0; l < types.size(); ++l)
        planned += Code(TypeInMix(*mix, role, static_cast<int64_t>(l), config));
      EXPECT_EQ(planned, types) << expected.mix << " role " << static_cast<int>(role);
      if (types.size() > 1) {
        EXPECT_EQ(std::ssize(types), shape.layers);
      } else {
        EXPECT_EQ(Code(TypeInMix(*mix, role, shape.layers - 1, config)), types[0]);
        EXPECT_EQ(Code(TypeInMix(*mix, role, shape.layers / 2, config)), types[0]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MixOfShape, ::testing::ValuesIn(kShapes),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Mix, IsFoundByTheNamesPeopleUse) {
  for (const Mix& mix : AllMixes()) EXPECT_EQ(FindMix(mix.name), &mix);
  EXPECT_EQ(FindMix("q4_k_m")->file_type, 15u);
  EXPECT_EQ(FindMix("q4_k"), FindMix("Q4_K_M"));
  EXPECT_EQ(FindMix("Q3_k"), FindMix("Q3_K_M"));
  EXPECT_EQ(FindMix("q5_k"), FindMix("Q5_K_M"));
  EXPECT_EQ(FindMix("f16"), nullptr);
  EXPECT_EQ(FindMix("q4_k_"), nullptr);
  EXPECT_EQ(FindMix(""), nullptr);
}

TEST(Mix, FusedGateAndUpAreAsEachAlone) {
  ModelConfig config;
  config.num_layers = 4;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.router.num_experts = 8;
  for (const Mix& mix : AllMixes())
    EXPECT_EQ(TypeInMix(mix, TensorRole::kGateUp, 1, config), mix.base) << mix.name;
}

}  // namespace
}  // namespace cadre
