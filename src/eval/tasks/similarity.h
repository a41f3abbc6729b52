// How alike a text and a reference are, by the counts of words that TruthfulQA's written answers
// are measured with. From 0 to 100.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cadre {

// BLEU of one sentence (Papineni et al. 2002) as sacrebleu computes it with its tokenizer "intl"
// and smoothing "exp": n-grams up to four, no effective order, so less than four words score 0.
double Bleu(std::string_view text, std::string_view reference);

// F-measures of ROUGE (Lin 2004) as the package rouge_score computes them, without stemming.
struct Rouge {
  double one = 0;    // of words
  double two = 0;    // of pairs of words
  double l_sum = 0;  // of longest common subsequences, united over sentences
};
Rouge RougeOf(std::string_view text, std::string_view reference);

// The words of "intl" (mteval-v14's international tokenization): punctuation that does not stand
// between digits, and every symbol, are words of their own. Knows the Latin, Greek and Cyrillic
// letters' neighbourhood, general punctuation and symbols.
std::vector<std::string> InternationalWords(std::string_view text);

}  // namespace cadre
