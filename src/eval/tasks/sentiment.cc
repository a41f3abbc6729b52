#include "eval/tasks/sentiment.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/lines.h"
#include "eval/tasks/python_text.h"
#include "eval/tasks/sentiment_rules.h"
#include "text/utf8.h"

namespace cadre {

using namespace sentiment_rules;

// The words of a text, as they stand and in lower case.
struct SentimentLexicon::Words {
  std::vector<std::string> words;
  std::vector<std::string> lower;
  bool some_in_capitals = false;  // but not all

  size_t size() const { return words.size(); }
};

namespace {

template <size_t kCount>
bool IsAmong(const std::string_view (&words)[kCount], const std::string& word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

// What a word in front adds to a positive rating; 0: it is no such word.
double Intensity(const std::string& lower) {
  if (IsAmong(kIntensifiers, lower)) return kMore;
  return IsAmong(kDampeners, lower) ? kLess : 0;
}

bool Negates(const std::string& lower) {
  return IsAmong(kNegations, lower) || lower.find("n't") != lower.npos;
}

// Has capitals and no small letter.
bool IsInCapitals(std::string_view word) {
  bool has_capital = false;
  while (!word.empty()) {
    const std::string_view character = word.substr(0, DecodeUtf8(word).num_bytes);
    if (Capitalized(character) != character) return false;
    has_capital |= Lowered(character) != character;
    word.remove_prefix(character.size());
  }
  return has_capital;
}

// Without punctuation around it, unless hardly anything would be left, as of ":)".
std::string Bare(std::string_view token) {
  const auto is_punctuation = [](char c) { return WithoutPunctuation({&c, 1}).empty(); };
  std::string_view bare = token;
  while (!bare.empty() && is_punctuation(bare.front())) bare.remove_prefix(1);
  while (!bare.empty() && is_punctuation(bare.back())) bare.remove_suffix(1);
  return std::string(NumCharacters(bare) <= 2 ? token : bare);
}

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> tokens;
  bool is_inside = false;
  while (!text.empty()) {
    const std::string_view character = text.substr(0, DecodeUtf8(text).num_bytes);
    const bool is_space = Strip(character).empty();
    if (!is_space && !is_inside) tokens.emplace_back();
    if (!is_space) tokens.back() += character;
    is_inside = !is_space;
    text.remove_prefix(character.size());
  }
  return tokens;
}

std::string Joined(const std::vector<std::string>& words, size_t begin, size_t end) {
  std::string phrase = words[begin];
  for (size_t i = begin + 1; i < end; ++i) phrase += ' ' + words[i];
  return phrase;
}

const double* PhraseRating(const std::string& phrase) {
  for (const auto& [text, rating] : kPhrases) {
    if (text == phrase) return &rating;
  }
  return nullptr;
}

// A negation `distance` words before word i, but for "never so" and "without doubt".
double Negated(double valence, const std::vector<std::string>& lower, size_t i, size_t distance) {
  const std::string& word = lower[i - distance];
  const auto is_so = [&](size_t back) {
    return lower[i - back] == "so" || lower[i - back] == "this";
  };
  if (distance == 2) {
    if (word == "never" && is_so(1)) return valence * 1.25;
    if (word == "without" && lower[i - 1] == "doubt") return valence;
  } else if (distance == 3) {
    if ((word == "never" && is_so(2)) || is_so(1)) return valence * 1.25;
    if (word == "without" && (lower[i - 2] == "doubt" || lower[i - 1] == "doubt")) return valence;
  }
  return Negates(word) ? valence * kNegation : valence;
}

// Phrases that word i is in or behind; it has three words before it.
double WithPhrases(double valence, const std::vector<std::string>& lower, size_t i) {
  const std::string two_behind = Joined(lower, i - 2, i), three_behind = Joined(lower, i - 3, i);
  const std::string before_those = Joined(lower, i - 3, i - 1);
  for (const auto& phrase : {Joined(lower, i - 1, i + 1), Joined(lower, i - 2, i + 1), two_behind,
                             three_behind, before_those}) {
    const double* rating = PhraseRating(phrase);
    if (rating == nullptr) continue;
    valence = *rating;
    break;
  }
  for (const size_t more : {size_t{1}, size_t{2}}) {
    if (i + more >= lower.size()) break;
    const double* rating = PhraseRating(Joined(lower, i, i + more + 1));
    if (rating != nullptr) valence = *rating;
  }
  for (const auto& phrase : {three_behind, before_those, two_behind}) valence += Intensity(phrase);
  return valence;
}

// What stands before "but" counts half, what stands behind it half as much again. A value that
// occurs twice is changed where it occurs first, as in the authors' program.
void WeighBut(const std::vector<std::string>& lower, std::vector<double>& valences) {
  const auto but = std::find(lower.begin(), lower.end(), "but") - lower.begin();
  if (but == std::ssize(lower)) return;
  for (size_t k = 0; k < valences.size(); ++k) {
    const auto first = std::find(valences.begin(), valences.end(), valences[k]);
    const auto place = first - valences.begin();
    if (place != but) *first *= place < but ? 0.5 : 1.5;
  }
}

double Emphasis(std::string_view text) {
  const auto exclamations = std::count(text.begin(), text.end(), '!');
  const auto questions = std::count(text.begin(), text.end(), '?');
  double emphasis = 0.292 * static_cast<double>(std::min<std::ptrdiff_t>(exclamations, 4));
  if (questions > 1) emphasis += questions <= 3 ? 0.18 * static_cast<double>(questions) : 0.96;
  return emphasis;
}

}  // namespace

SentimentLexicon::SentimentLexicon(const std::string& path) {
  ReadLines(path, [&](const std::string& line, const std::string& name) {
    const size_t tab = line.find('\t');
    const size_t end = tab == line.npos ? tab : std::min(line.find('\t', tab + 1), line.size());
    double rating = 0;
    const bool is_number =
        tab != line.npos &&
        std::from_chars(line.data() + tab + 1, line.data() + end, rating).ptr == line.data() + end;
    if (!is_number || tab == 0) throw Error("{}: must be a word, a tab and a rating", name);
    ratings_[std::string(Strip(line.substr(0, tab)))] = rating;
  });
  if (ratings_.empty()) throw Error("{}: holds no word", path);
}

double SentimentLexicon::Valence(const Words& words, size_t i) const {
  const auto& lower = words.lower;
  const bool is_last = i + 1 == words.size();
  if (Intensity(lower[i]) != 0 || (lower[i] == "kind" && !is_last && lower[i + 1] == "of"))
    return 0;
  const auto rating = ratings_.find(lower[i]);
  if (rating == ratings_.end()) return 0;
  double valence = rating->second;
  if (lower[i] == "no" && !is_last && Has(lower[i + 1])) valence = 0;
  if ((i > 0 && lower[i - 1] == "no") || (i > 1 && lower[i - 2] == "no") ||
      (i > 2 && lower[i - 3] == "no" && (lower[i - 1] == "or" || lower[i - 1] == "nor")))
    valence = rating->second * kNegation;
  if (words.some_in_capitals && IsInCapitals(words.words[i]))
    valence += valence > 0 ? kCapitals : -kCapitals;
  constexpr double kFading[] = {1, 0.95, 0.9};
  for (size_t distance = 1; distance <= 3 && distance <= i; ++distance) {
    const std::string& before = lower[i - distance];
    if (Has(before)) continue;
    double change = Intensity(before) * (valence < 0 ? -1 : 1);
    if (change != 0 && words.some_in_capitals && IsInCapitals(words.words[i - distance]))
      change += valence > 0 ? kCapitals : -kCapitals;
    valence += change * kFading[distance - 1];
    valence = Negated(valence, lower, i, distance);
    if (distance == 3) valence = WithPhrases(valence, lower, i);
  }
  const bool behind_least = i > 0 && lower[i - 1] == "least" && !Has("least");
  const bool is_minimum = i > 1 && (lower[i - 2] == "at" || lower[i - 2] == "very");
  return behind_least && !is_minimum ? valence * kNegation : valence;
}

double SentimentLexicon::Compound(const std::string& text) const {
  Words words;
  size_t in_capitals = 0;
  for (const auto& token : Split(text)) {
    words.words.push_back(Bare(token));
    words.lower.push_back(Lowered(words.words.back()));
    in_capitals += IsInCapitals(words.words.back()) ? 1 : 0;
  }
  words.some_in_capitals = in_capitals > 0 && in_capitals < words.size();
  std::vector<double> valences;
  for (size_t i = 0; i < words.size(); ++i) valences.push_back(Valence(words, i));
  WeighBut(words.lower, valences);
  double sum = 0;
  for (const double valence : valences) sum += valence;
  if (sum != 0) sum += sum > 0 ? Emphasis(text) : -Emphasis(text);
  constexpr double kAlpha = 15;  // about the largest sum there is, so that scores end at 1
  return std::round(1e4 * sum / std::sqrt(sum * sum + kAlpha)) / 1e4;
}

}  // namespace cadre
