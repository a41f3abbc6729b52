#include "eval/tasks/similarity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "eval/tasks/python_text.h"
#include "eval/tasks/unicode_classes.h"
#include "text/utf8.h"

namespace cadre {
namespace {

using Words = std::vector<std::string>;
using Counts = std::map<Words, int>;

struct Character {
  std::string_view bytes;
  uint32_t code = 0;
};

std::vector<Character> Characters(std::string_view text) {
  std::vector<Character> characters;
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    characters.push_back({text.substr(0, step.num_bytes), step.code_point});
    text.remove_prefix(step.num_bytes);
  }
  return characters;
}

// Puts spaces around the punctuation of pairs of characters (anything but a number, punctuation) or
// the other way round; pairs do not overlap.
std::string SplitPairs(std::string_view text, bool punctuation_first) {
  const auto characters = Characters(text);
  std::string split;
  for (size_t i = 0; i < characters.size(); ++i) {
    const bool has_next = i + 1 < characters.size();
    const uint32_t code = characters[i].code, next = has_next ? characters[i + 1].code : 0;
    const uint32_t mark = punctuation_first ? code : next, other = punctuation_first ? next : code;
    if (!has_next || !IsIn(kPunctuation, mark) || IsIn(kNumbers, other)) {
      split += characters[i].bytes;
      continue;
    }
    if (punctuation_first) split += ' ';
    split += characters[i].bytes;
    split += ' ';
    split += characters[i + 1].bytes;
    if (!punctuation_first) split += ' ';
    ++i;
  }
  return split;
}

Counts NGrams(const Words& words, size_t n) {
  Counts counts;
  for (size_t i = 0; i + n <= words.size(); ++i) {
    ++counts[Words(words.begin() + static_cast<std::ptrdiff_t>(i),
                   words.begin() + static_cast<std::ptrdiff_t>(i + n))];
  }
  return counts;
}

int Common(const Counts& a, const Counts& b) {
  int common = 0;
  for (const auto& [words, count] : a) {
    const auto found = b.find(words);
    if (found != b.end()) common += std::min(count, found->second);
  }
  return common;
}

double FMeasure(double hits, double text_size, double reference_size) {
  if (hits == 0) return 0;
  const double precision = hits / text_size, recall = hits / reference_size;
  return 100 * 2 * precision * recall / (precision + recall);
}

// Runs of a-z and 0-9, in lower case.
Words PlainWords(std::string_view text) {
  Words words;
  bool is_inside = false;
  for (const char c : Lowered(text)) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (is_plain && !is_inside) words.emplace_back();
    if (is_plain) words.back() += c;
    is_inside = is_plain;
  }
  return words;
}

double RougeN(const Words& text, const Words& reference, size_t n) {
  if (text.size() < n || reference.size() < n) return 0;
  const int hits = Common(NGrams(text, n), NGrams(reference, n));
  return FMeasure(hits, static_cast<double>(text.size() - n + 1),
                  static_cast<double>(reference.size() - n + 1));
}

// Places in `reference` of a longest common subsequence.
void AddCommonSubsequence(const Words& reference, const Words& text, std::set<size_t>& places) {
  std::vector<std::vector<int>> longest(reference.size() + 1, std::vector<int>(text.size() + 1));
  for (size_t i = 1; i <= reference.size(); ++i) {
    for (size_t j = 1; j <= text.size(); ++j) {
      longest[i][j] = reference[i - 1] == text[j - 1]
                          ? longest[i - 1][j - 1] + 1
                          : std::max(longest[i - 1][j], longest[i][j - 1]);
    }
  }
  for (size_t i = reference.size(), j = text.size(); i > 0 && j > 0;) {
    if (reference[i - 1] == text[j - 1]) {
      places.insert(--i);
      --j;
    } else if (longest[i][j - 1] > longest[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
}

std::vector<Words> SentencesOf(std::string_view text) {
  const std::string lines = Replaced(text, " . ", ".\n");
  std::vector<Words> sentences;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    if (end > begin) sentences.push_back(PlainWords(lines.substr(begin, end - begin)));
    begin = end + 1;
  }
  return sentences;
}

double RougeLSum(const std::vector<Words>& text, const std::vector<Words>& reference) {
  std::map<std::string, int> left_in_text, left_in_reference;
  double text_size = 0, reference_size = 0;
  for (const auto& sentence : text) {
    text_size += static_cast<double>(sentence.size());
    for (const auto& word : sentence) ++left_in_text[word];
  }
  for (const auto& sentence : reference) {
    reference_size += static_cast<double>(sentence.size());
    for (const auto& word : sentence) ++left_in_reference[word];
  }
  double hits = 0;
  for (const auto& sentence : reference) {
    std::set<size_t> places;
    for (const auto& other : text) AddCommonSubsequence(sentence, other, places);
    for (const size_t place : places) {
      const std::string& word = sentence[place];
      if (left_in_text[word] == 0 || left_in_reference[word] == 0) continue;
      --left_in_text[word];
      --left_in_reference[word];
      ++hits;
    }
  }
  return FMeasure(hits, text_size, reference_size);
}

}  // namespace

std::vector<std::string> InternationalWords(std::string_view text) {
  const std::string split = SplitPairs(SplitPairs(StripRight(text), false), true);
  std::vector<std::string> words;
  bool is_inside = false;
  for (const Character& character : Characters(split)) {
    const bool is_symbol = IsIn(kSymbols, character.code);
    const bool is_space = Strip(character.bytes).empty();
    if (!is_space && (is_symbol || !is_inside)) words.emplace_back();
    if (!is_space) words.back() += character.bytes;
    is_inside = !is_space && !is_symbol;
  }
  return words;
}

double Bleu(std::string_view text, std::string_view reference) {
  constexpr size_t kOrder = 4;
  const Words words = InternationalWords(text), expected = InternationalWords(reference);
  if (words.size() < kOrder) return 0;
  double sum = 0, smoothing = 1;
  int all_hits = 0;
  for (size_t n = 1; n <= kOrder; ++n) {
    const int hits = Common(NGrams(words, n), NGrams(expected, n));
    const auto total = static_cast<double>(words.size() - n + 1);
    all_hits += hits;
    if (hits == 0) smoothing *= 2;
    sum += std::log(hits == 0 ? 100 / (smoothing * total) : 100 * hits / total);
  }
  if (all_hits == 0) return 0;
  const double ratio = static_cast<double>(expected.size()) / static_cast<double>(words.size());
  return std::exp(sum / kOrder) * (ratio > 1 ? std::exp(1 - ratio) : 1);
}

Rouge RougeOf(std::string_view text, std::string_view reference) {
  const auto sentences = SentencesOf(text), expected = SentencesOf(reference);
  Words words, expected_words;
  for (const auto& sentence : sentences)
    words.insert(words.end(), sentence.begin(), sentence.end());
  for (const auto& sentence : expected)
    expected_words.insert(expected_words.end(), sentence.begin(), sentence.end());
  return {.one = RougeN(words, expected_words, 1),
          .two = RougeN(words, expected_words, 2),
          .l_sum = RougeLSum(sentences, expected)};
}

}  // namespace cadre
