#include "grammar/spell.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/json.h"

namespace cadre {
namespace {

constexpr std::string_view kShortEscapes = "\b\f\n\r\t\"\\";
constexpr std::string_view kShortNames = "bfnrt\"\\";

// Writes ranges of characters as UTF-8.
class Utf8Edges {
 public:
  Utf8Edges(Grammar& grammar, int32_t to) : grammar_(grammar), to_(to) {}

  // lo..hi, without surrogates.
  void Add(int32_t from, uint32_t lo, uint32_t hi) {
    constexpr std::array<uint32_t, 4> kLasts = {0x7F, 0x7FF, 0xFFFF, CodePointSet::kLast};
    for (int num_bytes = 1; num_bytes <= 4 && lo <= hi; ++num_bytes) {
      const uint32_t last = std::min(hi, kLasts[static_cast<size_t>(num_bytes - 1)]);
      if (lo > last) continue;
      AddTail(from, lo, last, num_bytes, true);
      lo = last + 1;
    }
  }

 private:
  static uint8_t Byte(uint32_t code_point, int tail_bytes, bool leads, int num_bytes) {
    const uint32_t bits = code_point >> (6 * tail_bytes);
    if (!leads) return static_cast<uint8_t>(0x80 | (bits & 0x3F));
    constexpr std::array<uint32_t, 4> kMarks = {0, 0xC0, 0xE0, 0xF0};
    return static_cast<uint8_t>(kMarks[static_cast<size_t>(num_bytes - 1)] | bits);
  }

  // The bytes of lo..hi that are left when `num_bytes` are; those before are the same for all.
  void AddTail(int32_t from, uint32_t lo, uint32_t hi, int num_bytes, bool leads) {
    const int tail = num_bytes - 1;
    if (tail == 0) {
      grammar_.AddBytes(from, Byte(lo, 0, leads, num_bytes), Byte(hi, 0, leads, num_bytes), to_);
      return;
    }
    const uint32_t span = 1U << (6 * tail);  // how many characters share this byte
    while (lo <= hi) {
      const uint32_t block_end = lo | (span - 1);
      if (lo % span == 0 && block_end <= hi) {
        // Whole blocks: any continuation.
        const uint32_t blocks = (hi + 1 - lo) / span;
        const uint32_t last = lo + blocks * span - 1;
        grammar_.AddBytes(from, Byte(lo, tail, leads, num_bytes),
                          Byte(last, tail, leads, num_bytes), AnyTail(tail));
        lo = last + 1;
        continue;
      }
      const uint32_t end = std::min(block_end, hi);
      const int32_t next = grammar_.AddState();
      const uint8_t byte = Byte(lo, tail, leads, num_bytes);
      grammar_.AddBytes(from, byte, byte, next);
      AddTail(next, lo, end, tail, false);
      lo = end + 1;
    }
  }

  int32_t AnyTail(int num_bytes) {
    if (num_bytes == 0) return to_;
    int32_t& state = any_tails_[static_cast<size_t>(num_bytes)];
    if (state < 0) {
      state = grammar_.AddState();
      grammar_.AddBytes(state, 0x80, 0xBF, AnyTail(num_bytes - 1));
    }
    return state;
  }

  Grammar& grammar_;
  int32_t to_;
  std::array<int32_t, 4> any_tails_ = {-1, -1, -1, -1};
};

void AddHexDigit(Grammar& grammar, int32_t from, uint32_t lo, uint32_t hi, int32_t to) {
  const auto add = [&](uint32_t first, uint32_t last, uint32_t digit, char byte) {
    if (lo > last || hi < first) return;
    const uint32_t begin = std::max(lo, first) - digit;
    const uint32_t end = std::min(hi, last) - digit;
    grammar.AddBytes(from, static_cast<uint8_t>(static_cast<uint32_t>(byte) + begin),
                     static_cast<uint8_t>(static_cast<uint32_t>(byte) + end), to);
  };
  add(0, 9, 0, '0');
  add(10, 15, 10, 'a');
  add(10, 15, 10, 'A');
}

void AddEscape(Grammar& grammar, int32_t from, uint32_t code_point, int32_t to) {
  const size_t named = kShortEscapes.find(static_cast<char>(code_point));
  if (named != std::string_view::npos) {
    grammar.AddLiteral(from, std::string("\\") + kShortNames[named], to);
    return;
  }
  const int32_t high = grammar.AddLiteral(from, "\\u00");
  const int32_t low = grammar.AddState();
  AddHexDigit(grammar, high, code_point / 16, code_point / 16, low);
  AddHexDigit(grammar, low, code_point % 16, code_point % 16, to);
}

bool NeedsEscape(uint32_t code_point) {
  return code_point < 0x20 || code_point == '"' || code_point == '\\';
}

void AddRange(Grammar& grammar, Utf8Edges& edges, Spelling spelling, int32_t from, uint32_t lo,
              uint32_t hi, int32_t to) {
  if (spelling == Spelling::kPlain) return edges.Add(from, lo, hi);
  for (uint32_t c = lo; c <= std::min<uint32_t>(hi, '\\'); ++c) {
    if (NeedsEscape(c)) AddEscape(grammar, from, c, to);
  }
  constexpr std::array<CodePointRange, 3> kFree = {
      {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, CodePointSet::kLast}}};
  for (const CodePointRange free : kFree) {
    if (lo <= free.hi && hi >= free.lo) {
      edges.Add(from, std::max(lo, free.lo), std::min(hi, free.hi));
    }
  }
}

}  // namespace

void AddText(Grammar& grammar, const TextDfa& dfa, Spelling spelling, int32_t from, int32_t to) {
  if (dfa.states.empty()) return;
  std::vector<int32_t> state_of(dfa.states.size());
  for (int32_t& state : state_of) state = grammar.AddState();
  grammar.AddEmpty(from, state_of[0]);
  // By target, so that the tails of characters are shared.
  std::vector<Utf8Edges> edges;
  edges.reserve(dfa.states.size());
  for (const int32_t state : state_of) edges.emplace_back(grammar, state);
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    for (const TextDfa::Step& step : dfa.states[i].steps) {
      const auto target = static_cast<size_t>(step.target);
      AddRange(grammar, edges[target], spelling, state_of[i], step.lo, step.hi, state_of[target]);
    }
    if (dfa.states[i].accepts) grammar.AddEmpty(state_of[i], to);
  }
}

std::string QuotedJson(std::string_view text) { return Json(text).dump(); }

int32_t AddFreeCharacterRule(Grammar& grammar) {
  const int32_t rule = grammar.AddRule();
  const int32_t start = grammar.rule(rule).start;
  const int32_t end = grammar.rule(rule).end;
  Utf8Edges edges(grammar, end);
  for (const CodePointRange range : CodePointSet::All().ranges()) {
    if (range.lo == 0) {
      edges.Add(start, 0x20, '"' - 1);
      edges.Add(start, '"' + 1, '\\' - 1);
      edges.Add(start, '\\' + 1, range.hi);
    } else {
      edges.Add(start, range.lo, range.hi);
    }
  }
  const int32_t escape = grammar.AddLiteral(start, "\\");
  for (const char name : kShortNames) {
    grammar.AddBytes(escape, static_cast<uint8_t>(name), static_cast<uint8_t>(name), end);
  }
  grammar.AddBytes(escape, '/', '/', end);

  const int32_t hex = grammar.AddLiteral(escape, "u");
  std::array<int32_t, 4> left;  // so many digits are left
  left[0] = end;
  for (size_t i = 1; i < left.size(); ++i) {
    left[i] = grammar.AddState();
    AddHexDigit(grammar, left[i], 0, 15, left[i - 1]);
  }
  AddHexDigit(grammar, hex, 0, 0xC, left[3]);
  AddHexDigit(grammar, hex, 0xE, 0xF, left[3]);
  const int32_t d = grammar.AddState();
  AddHexDigit(grammar, hex, 0xD, 0xD, d);
  AddHexDigit(grammar, d, 0, 7, left[2]);
  // D8..DB: the first half of a pair, whose second must follow.
  std::array<int32_t, 3> high;
  for (int32_t& state : high) state = grammar.AddState();
  AddHexDigit(grammar, d, 8, 0xB, high[0]);
  AddHexDigit(grammar, high[0], 0, 15, high[1]);
  AddHexDigit(grammar, high[1], 0, 15, high[2]);
  const int32_t low = grammar.AddLiteral(high[2], "\\u");
  const int32_t low_d = grammar.AddState();
  AddHexDigit(grammar, low, 0xD, 0xD, low_d);
  AddHexDigit(grammar, low_d, 0xC, 0xF, left[2]);
  return rule;
}

}  // namespace cadre
