#include "study/token_groups.h"

#include <algorithm>
#include <array>
#include <string>

namespace cadre {
namespace {

enum Group : int64_t {
  kControl,
  kSpace,
  kDigits,
  kPunctuation,
  kBrackets,
  kSymbols,
  kArticles,
  kConjunctions,
  kPrepositions,
  kPronouns,
  kCapitals,
  kName,
  kWord,
  kPart,
  kOther,
};

constexpr std::array<TokenGroup, kOther + 1> kGroups = {{
    {"control", "no text: what the vocabulary reserves"},
    {"space", "spaces, tabs and line ends only"},
    {"digits", "digits only"},
    {"punctuation", ". , ; : ! ? and quotation marks, dashes and dots of print, only"},
    {"brackets", "( ) [ ] { } only"},
    {"symbols", "other ASCII marks only: operators, slashes, underscores"},
    {"articles",
     "the a an; der die das ein eine and their cases; le la les un une des; el los las "
     "una; il lo gli i"},
    {"conjunctions",
     "and or but if that; und oder aber dass; et ou mais que; y o pero; e ma che "
     "and their like"},
    {"prepositions",
     "of to in on at for with; von zu in mit auf; de à dans pour; en con por para; "
     "di da per and their like"},
    {"pronouns",
     "I you he she it they; ich du er sie es wir; je tu il nous; yo él ella; io lui lei "
     "and their like"},
    {"capitals", "two or more letters, all capital"},
    {"name", "begins with a capital letter"},
    {"word", "begins a word: a space, then a small letter"},
    {"part", "a piece of a word: letters without a space before"},
    {"other", "what is left: letters of other scripts, bytes, mixtures"},
}};

// Words of the five languages whose spelling nearly always means this. What is two of them (que,
// la, die, in) stands where it is most often.
struct Words {
  Group group;
  std::string_view list;
};
constexpr std::array<Words, 4> kWords = {{
    {kArticles,
     " the a an der die das den dem des ein eine einen einem einer eines le la les l un une el los "
     "las unos unas una uno il lo gli i "},
    {kConjunctions,
     " and or but if because that than as while though und oder aber wenn weil dass daß als denn "
     "et "
     "ou mais si que quand comme car y o pero porque cuando aunque sino e ma se che quando perché "
     "come anche "},
    {kPrepositions,
     " of to in on at by for from with into over under about after before von zu mit auf aus bei "
     "nach vor für um an im am zum zur vom de du à au aux dans pour par sur avec sans sous en con "
     "por para del al sin sobre entre hasta desde di da per su tra fra nel nella del della dei "
     "delle al alla dal dalla "},
    {kPronouns,
     " I you he she it we they me him her us them my his its our their ich du er sie es wir ihr "
     "mich "
     "ihn ihm sich mein sein je tu il elle nous vous ils elles on me te lui leur son sa ses yo él "
     "ella ellos nosotros mi su io egli lui lei noi voi loro mio suo "},
}};

bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWide(char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; }

bool AllIn(std::string_view text, std::string_view set) {
  return text.find_first_not_of(set) == std::string_view::npos;
}

// Letters of Latin-1 and Latin Extended-A in UTF-8: U+00C0 to U+017F, but for two signs.
bool IsLatinPair(char first, char second) {
  const auto a = static_cast<unsigned char>(first), b = static_cast<unsigned char>(second);
  if (a == 0xC3) return b >= 0x80 && b != 0x97 && b != 0xB7;
  return a == 0xC4 || a == 0xC5;
}
bool IsLatinCapital(std::string_view text) {
  if (text.empty()) return false;
  if (text[0] >= 'A' && text[0] <= 'Z') return true;
  return text.size() > 1 && text[0] == '\xC3' && static_cast<unsigned char>(text[1]) < 0x9F;
}

// How many letters there are; -1 where there is something else.
int64_t CountLetters(std::string_view text) {
  int64_t letters = 0;
  for (size_t i = 0; i < text.size(); ++i, ++letters) {
    if (IsAsciiLetter(text[i])) continue;
    if (i + 1 >= text.size() || !IsLatinPair(text[i], text[i + 1])) return -1;
    ++i;
  }
  return letters;
}

bool AllCapitals(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Marks of print outside ASCII that texts of these languages have: « » “ ” „ ‘ ’ – — … ¿ ¡.
bool AllPunctuation(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (std::string_view(".,;:!?'\"-").find(rest[0]) != std::string_view::npos) continue;
    if (rest.starts_with("\xE2\x80")) {
      i += 2;
    } else if (rest.starts_with("\xC2\xAB") || rest.starts_with("\xC2\xBB") ||
               rest.starts_with("\xC2\xBF") || rest.starts_with("\xC2\xA1")) {
      i += 1;
    } else {
      return false;
    }
  }
  return true;
}

int64_t GroupOfWord(std::string_view text, bool begins_word) {
  const int64_t letters = CountLetters(text);
  if (letters < 0) return kOther;
  if (begins_word) {
    std::string lower(text);
    if (text[0] >= 'A' && text[0] <= 'Z' && text != "I")
      lower[0] = static_cast<char>(lower[0] - 'A' + 'a');
    for (const auto& [group, list] : kWords) {
      if (list.find(" " + lower + " ") != std::string_view::npos) return group;
    }
  }
  if (letters > 1 && AllCapitals(text)) return kCapitals;
  if (IsLatinCapital(text)) return kName;
  return begins_word ? kWord : kPart;
}

}  // namespace

std::span<const TokenGroup> TokenGroups() { return kGroups; }

int64_t GroupOf(std::string_view bytes) {
  if (bytes.empty()) return kControl;
  if (AllIn(bytes, " \t\n\r")) return kSpace;
  const bool begins_word = bytes[0] == ' ';
  const std::string_view text = bytes.substr(bytes.find_first_not_of(' '));
  if (std::all_of(text.begin(), text.end(), IsDigit)) return kDigits;
  if (AllPunctuation(text)) return kPunctuation;
  if (AllIn(text, "()[]{}")) return kBrackets;
  const bool has_letters = std::any_of(
      text.begin(), text.end(), [](char c) { return IsAsciiLetter(c) || IsDigit(c) || IsWide(c); });
  if (!has_letters) return kSymbols;
  return GroupOfWord(text, begins_word);
}

std::vector<int32_t> GroupsOf(const Tokenizer& tokenizer) {
  std::vector<int32_t> groups;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    groups.push_back(static_cast<int32_t>(GroupOf(tokenizer.PieceBytes(id))));
  return groups;
}

}  // namespace cadre
