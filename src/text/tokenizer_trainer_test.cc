#include "text/tokenizer_trainer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/testing.h"

namespace cadre {
namespace {

TEST(TrainTokenizer, LaysOutIdsAsMistralDoes) {
  const Vocabulary vocabulary = testing::TinyVocabulary();
  ASSERT_EQ(vocabulary.size(), 400);
  EXPECT_EQ(vocabulary.pieces[0].text, "<unk>");
  EXPECT_EQ(vocabulary.pieces[1].text, "<s>");
  EXPECT_EQ(vocabulary.pieces[2].text, "</s>");
  EXPECT_EQ(vocabulary.pad_id, -1);
  for (size_t byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(vocabulary.pieces[3 + byte].text, PieceOfByte(static_cast<uint8_t>(byte)));
    EXPECT_EQ(vocabulary.pieces[3 + byte].type, PieceType::kByte);
  }
  EXPECT_TRUE(vocabulary.add_bos);
  EXPECT_FALSE(vocabulary.add_eos);
  EXPECT_TRUE(vocabulary.add_dummy_prefix);
  EXPECT_FALSE(vocabulary.remove_extra_whitespaces);
}

TEST(TrainTokenizer, MakesDigitsSingleAndNewlinesBytes) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  for (int32_t id = 259; id < tokenizer.vocab_size(); ++id) {
    const std::string& piece = tokenizer.PieceText(id);
    EXPECT_EQ(piece.find_first_of("\n\t"), std::string::npos) << piece;
    const bool has_digit = piece.find_first_of("0123456789") != std::string::npos;
    EXPECT_TRUE(!has_digit || piece.size() == 1) << piece;
  }
  EXPECT_EQ(tokenizer.Encode("\n", DummyPrefix::kNone), std::vector<int32_t>{3 + '\n'});
}

TEST(TrainTokenizer, GivesTheSameVocabularyForAnyNumberOfThreads) {
  const std::vector<std::string> corpus = testing::TinyCorpus();
  const auto train = [&](int num_threads) {
    return WriteSentencePieceModel(
        TrainTokenizer(corpus, {.vocab_size = 380, .num_threads = num_threads}));
  };
  EXPECT_EQ(train(1), train(1));
  EXPECT_EQ(train(1), train(2));
}

TEST(TrainTokenizer, LearnsFromLinesOfAnyLength) {
  std::string long_line;
  while (long_line.size() < 300000) long_line += "the quick brown fox jumps over the lazy dog ";
  long_line += std::string(50000, 'z') + std::string("\0\xff\xE2\x96\x85tail", 9);
  const std::vector<std::string> corpus = {long_line};
  const Tokenizer tokenizer(TrainTokenizer(corpus, {.vocab_size = 300, .character_coverage = 1.0}),
                            "long");
  EXPECT_LT(tokenizer.Encode("the lazy dog").size(), 12u);
}

TEST(TrainTokenizer, DrawsTheSameSampleForTheSameSeed) {
  std::vector<std::string> corpus;
  for (int i = 0; i < 300; ++i) {
    for (const std::string& text : testing::TinyCorpus()) corpus.push_back(text);
  }
  const auto train = [&](uint64_t seed) {
    return WriteSentencePieceModel(
        TrainTokenizer(corpus, {.vocab_size = 360, .max_input_bytes = 60000, .seed = seed}));
  };
  EXPECT_EQ(train(1), train(1));
}

TEST(TrainTokenizer, SaysWhatIsWrong) {
  const std::vector<std::string> corpus = testing::TinyCorpus();
  EXPECT_THROW(TrainTokenizer({}, {}), Error);
  EXPECT_THROW(TrainTokenizer(corpus, {.vocab_size = 10}), Error);
  EXPECT_THROW(TrainTokenizer(corpus, {.vocab_size = 100000}),
               Error);  // more than this text can give
  EXPECT_THROW(TrainTokenizer(corpus, {.vocab_size = 400, .character_coverage = 2}), Error);
  EXPECT_THROW(TrainTokenizer(corpus, {.vocab_size = 400, .num_threads = 0}), Error);
  const std::vector<std::string> blank = {"\n\n\t"};
  EXPECT_THROW(TrainTokenizer(blank, {.vocab_size = 300}), Error);
}

}  // namespace
}  // namespace cadre
