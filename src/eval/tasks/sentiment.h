// The sentiment of a text by VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for
// Sentiment Analysis of Social Media Text", 2014). Its rules are here; its lexicon of rated words
// is a file of the user's. Emoji are not turned into words, as the authors' program does.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

namespace cadre {

class SentimentLexicon {
 public:
  // Lines of word, tab, mean rating, and more that is not read (vader_lexicon.txt). Throws Error.
  explicit SentimentLexicon(const std::string& path);

  // The compound score, from -1 to 1, to four decimals.
  double Compound(const std::string& text) const;

 private:
  struct Words;

  double Valence(const Words& words, size_t i) const;
  bool Has(const std::string& lower) const { return ratings_.contains(lower); }

  std::unordered_map<std::string, double> ratings_;
};

}  // namespace cadre
