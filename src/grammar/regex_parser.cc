#include "grammar/regex_parser.h"

#include <optional>
#include <string>

#include "base/error.h"
#include "text/utf8.h"

namespace cadre {
namespace {

using Kind = RegexTree::Kind;

CodePointSet Digits() { return CodePointSet({{'0', '9'}}); }

CodePointSet WordCharacters() {
  return CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}

// WhiteSpace and LineTerminator of ECMA-262.
CodePointSet Spaces() {
  return CodePointSet({{9, 13},
                       {' ', ' '},
                       {0xA0, 0xA0},
                       {0x1680, 0x1680},
                       {0x2000, 0x200A},
                       {0x2028, 0x2029},
                       {0x202F, 0x202F},
                       {0x205F, 0x205F},
                       {0x3000, 0x3000},
                       {0xFEFF, 0xFEFF}});
}

CodePointSet LineEnds() { return CodePointSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}); }

CodePointSet One(uint32_t code_point) { return CodePointSet({{code_point, code_point}}); }

class Parser {
 public:
  Parser(std::string_view pattern, CompileBudget& budget) : pattern_(pattern), budget_(budget) {}

  RegexTree Parse() {
    if (pattern_.size() > RegexTree::kMaxPatternBytes) {
      throw Error("regular expression: {} bytes, more than the {} allowed", pattern_.size(),
                  RegexTree::kMaxPatternBytes);
    }
    if (!IsValidUtf8(pattern_)) throw Error("regular expression: not valid UTF-8");
    tree_.root = Choice(0);
    if (at_ < pattern_.size()) Refuse("an unmatched ')'");
    return std::move(tree_);
  }

 private:
  [[noreturn]] void Refuse(std::string_view what) const {
    throw Error("regular expression: {} at offset {} of '{}'", what, at_, Printable(pattern_));
  }

  bool AtEnd() const { return at_ >= pattern_.size(); }
  char Peek() const { return AtEnd() ? '\0' : pattern_[at_]; }
  bool Take(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  uint32_t TakeCharacter() {
    if (AtEnd()) Refuse("an end too early");
    const Utf8Step step = DecodeUtf8(pattern_.substr(at_));
    at_ += step.num_bytes;
    return step.code_point;
  }

  int32_t Add(RegexTree::Node node) {
    budget_.Spend(4 + static_cast<int64_t>(node.set.ranges().size()));
    tree_.nodes.push_back(std::move(node));
    return static_cast<int32_t>(tree_.nodes.size() - 1);
  }
  int32_t AddSet(CodePointSet set) { return Add({Kind::kSet, {}, std::move(set)}); }

  int32_t Choice(int depth) {
    if (depth > RegexTree::kMaxGroupDepth) Refuse("groups nested too deep");
    std::vector<int32_t> branches = {Sequence(depth)};
    while (Take("|")) branches.push_back(Sequence(depth));
    return branches.size() == 1 ? branches[0] : Add({Kind::kChoice, std::move(branches), {}});
  }

  int32_t Sequence(int depth) {
    std::vector<int32_t> parts;
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      const int32_t atom = Atom(depth);
      parts.push_back(Quantified(atom));
    }
    return Add({Kind::kSequence, std::move(parts), {}});
  }

  int32_t Quantified(int32_t atom) {
    int32_t min = 0;
    int32_t max = RegexTree::kUnlimited;
    if (!TakeQuantifier(min, max)) return atom;
    const Kind kind = tree_.nodes[static_cast<size_t>(atom)].kind;
    if (kind == Kind::kBegin || kind == Kind::kEnd) Refuse("a repeated anchor before");
    Take("?");  // reluctant: the same texts
    if (Peek() == '*' || Peek() == '+' || Peek() == '?' || Peek() == '{') {
      Refuse("a quantifier behind another");
    }
    return Add({Kind::kRepeat, {atom}, {}, min, max});
  }

  bool TakeQuantifier(int32_t& min, int32_t& max) {
    if (Take("*")) return true;
    if (Take("+")) {
      min = 1;
      return true;
    }
    if (Take("?")) {
      max = 1;
      return true;
    }
    if (Peek() != '{') return false;
    ++at_;
    min = max = Count();
    if (Take(",")) max = Peek() == '}' ? RegexTree::kUnlimited : Count();
    if (!Take("}")) Refuse("no '}' where one must be");
    if (max != RegexTree::kUnlimited && max < min) Refuse("a range of counts that is empty before");
    return true;
  }

  int32_t Count() {
    if (Peek() < '0' || Peek() > '9') Refuse("no count where one must be");
    int32_t count = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      count = count * 10 + (pattern_[at_++] - '0');
      if (count > RegexTree::kMaxCount) Refuse("a count above 10000");
    }
    return count;
  }

  int32_t Atom(int depth) {
    if (Take("(")) return Group(depth);
    if (Take("[")) return AddSet(Class());
    if (Take(".")) return AddSet(LineEnds().Complement());
    if (Take("^")) return Add({Kind::kBegin, {}, {}});
    if (Take("$")) return Add({Kind::kEnd, {}, {}});
    if (Take("\\")) return AddSet(Escape(false));
    const char next = Peek();
    if (next == '*' || next == '+' || next == '?' || next == '{') {
      Refuse("a quantifier without anything to repeat");
    }
    if (next == ']' || next == '}') Refuse("a bracket that opens nowhere");
    return AddSet(One(TakeCharacter()));
  }

  int32_t Group(int depth) {
    if (Take("?=") || Take("?!")) Refuse("lookahead, which cannot be enforced,");
    if (Take("?<=") || Take("?<!")) Refuse("lookbehind, which cannot be enforced,");
    if (Take("?<") || Take("?P<")) {
      while (!AtEnd() && Peek() != '>') ++at_;
      if (!Take(">")) Refuse("a group's name without an end");
    } else if (!Take("?:") && Peek() == '?') {
      Refuse("a kind of group that is not supported");
    }
    const int32_t inside = Choice(depth + 1);
    if (!Take(")")) Refuse("a group without an end");
    // An anchor alone in a group must not be taken for the anchor itself.
    return Add({Kind::kSequence, {inside}, {}});
  }

  CodePointSet Class() {
    const bool negated = Take("^");
    std::vector<CodePointRange> ranges;
    while (!Take("]")) {
      if (AtEnd()) Refuse("a class without an end");
      const CodePointSet first = ClassAtom();
      if (Peek() != '-' || pattern_.substr(at_).starts_with("-]")) {
        ranges.insert(ranges.end(), first.ranges().begin(), first.ranges().end());
        continue;
      }
      ++at_;
      const CodePointSet second = ClassAtom();
      const std::optional<uint32_t> lo = OnlyMember(first);
      const std::optional<uint32_t> hi = OnlyMember(second);
      if (!lo || !hi || *lo > *hi) Refuse("a range of characters that is not valid before");
      ranges.push_back({*lo, *hi});
    }
    const CodePointSet set(std::move(ranges));
    return negated ? set.Complement() : set;
  }

  CodePointSet ClassAtom() {
    if (AtEnd()) Refuse("a class without an end");
    budget_.Spend(4);
    if (Take("\\")) return Escape(true);
    return One(TakeCharacter());
  }

  static std::optional<uint32_t> OnlyMember(const CodePointSet& set) {
    if (set.ranges().size() != 1 || set.ranges()[0].lo != set.ranges()[0].hi) return std::nullopt;
    return set.ranges()[0].lo;
  }

  // What stands behind a backslash.
  CodePointSet Escape(bool in_class) {
    const uint32_t c = TakeCharacter();
    switch (c) {
      case 'd':
        return Digits();
      case 'D':
        return Digits().Complement();
      case 'w':
        return WordCharacters();
      case 'W':
        return WordCharacters().Complement();
      case 's':
        return Spaces();
      case 'S':
        return Spaces().Complement();
      case 't':
        return One('\t');
      case 'n':
        return One('\n');
      case 'r':
        return One('\r');
      case 'v':
        return One('\v');
      case 'f':
        return One('\f');
      case 'x':
        return One(Hexadecimal(2));
      case 'u':
        return One(UnicodeEscape());
      case 'b':
        if (in_class) return One('\b');
        Refuse("a word boundary, which is not supported,");
      case '0':
        if (Peek() < '0' || Peek() > '9') return One(0);
        break;
      default:
        break;
    }
    if (c >= '0' && c <= '9') Refuse("a backreference, which cannot be enforced,");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      Refuse("an escape that is not supported before");
    }
    return One(c);
  }

  uint32_t Hexadecimal(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = Peek();
      uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<uint32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<uint32_t>(c - 'A' + 10);
      } else {
        Refuse("no hexadecimal digit where one must be");
      }
      ++at_;
      value = value * 16 + digit;
    }
    return value;
  }

  uint32_t UnicodeEscape() {
    uint32_t code_point = 0;
    if (Take("{")) {
      if (Peek() == '}') Refuse("no hexadecimal digit where one must be");
      while (!Take("}")) {
        code_point = code_point * 16 + Hexadecimal(1);
        if (code_point > CodePointSet::kLast) Refuse("a character above U+10FFFF");
      }
    } else {
      code_point = Hexadecimal(4);
      if (code_point >= 0xD800 && code_point < 0xDC00 && Take("\\u")) {
        const uint32_t low = Hexadecimal(4);
        if (low < 0xDC00 || low > 0xDFFF) Refuse("half a surrogate pair before");
        return 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    if (code_point >= 0xD800 && code_point <= 0xDFFF) Refuse("half a surrogate pair before");
    return code_point;
  }

  std::string_view pattern_;
  CompileBudget& budget_;
  size_t at_ = 0;
  RegexTree tree_;
};

}  // namespace

RegexTree ParseRegex(std::string_view pattern, CompileBudget& budget) {
  return Parser(pattern, budget).Parse();
}

}  // namespace cadre
