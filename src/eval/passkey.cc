#include "eval/passkey.h"

#include "base/error.h"
#include "base/random.h"

namespace cadre {
namespace {

constexpr std::string_view kTask =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there.";
constexpr std::string_view kQuestion = "What is the pass key? The pass key is";
constexpr std::string_view kFiller[] = {"The grass is green.", "The sky is blue.",
                                        "The sun is yellow.", "Here we go.",
                                        "There and back again."};
constexpr int64_t kFillers = 5;
// Numbers may divide into more tokens than the one that lengths are measured with.
constexpr int64_t kSpareTokens = 8;

std::string Filler(int64_t begin, int64_t end) {
  std::string text;
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) text += ' ';
    text += kFiller[i % kFillers];
  }
  return text;
}

std::string Prompt(int64_t sentences, int64_t before, const std::string& key) {
  return fmt::format("{}\n{}\nThe pass key is {}. Remember it. {} is the pass key.\n{}\n{}", kTask,
                     Filler(0, before), key, key, Filler(before, sentences), kQuestion);
}

// The most sentences whose prompt has at most `limit` tokens.
int64_t NumSentences(const Tokenizer& tokenizer, int64_t limit) {
  const auto fits = [&](int64_t sentences) {
    const int64_t bos = tokenizer.vocabulary().add_bos ? 1 : 0;
    const auto ids = tokenizer.Encode(Prompt(sentences, sentences / 2, "55555"));
    return std::ssize(ids) + bos <= limit;
  };
  if (!fits(0)) return -1;
  int64_t low = 0, high = 1;
  while (fits(high)) high *= 2;
  for (low = high / 2; high - low > 1;) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::vector<int64_t> PassKeyLengths(int64_t context_length) {
  std::vector<int64_t> lengths;
  for (int64_t length = 512; length <= std::min<int64_t>(context_length, 32768); length *= 2)
    lengths.push_back(length);
  if (lengths.empty()) lengths.push_back(context_length);
  return lengths;
}

std::vector<EvalItem> PassKeyItems(const PassKeyGrid& grid, const Tokenizer& tokenizer,
                                   int64_t context_length, int64_t answer_tokens, uint64_t seed) {
  std::vector<EvalItem> items;
  Random random(seed);
  for (const int64_t length : grid.lengths) {
    if (length > context_length)
      throw Error("a length is {} tokens but the context has {}", length, context_length);
    const int64_t sentences = NumSentences(tokenizer, length - answer_tokens - kSpareTokens);
    if (sentences < 0)
      throw Error("a length is {} tokens, too few for the question and its answer", length);
    for (const int depth : grid.depths) {
      for (int trial = 0; trial < grid.trials; ++trial) {
        const std::string key = std::to_string(10000 + random.NextBelow(90000));
        EvalItem item;
        item.group = fmt::format("{} tokens, {} %", length, depth);
        item.contexts = {Prompt(sentences, (sentences * depth + 50) / 100, key)};
        item.answers = {key};
        items.push_back(std::move(item));
      }
    }
  }
  return items;
}

}  // namespace cadre
