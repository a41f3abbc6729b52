// The part of Automaton that finds which tokens may come next.
#include <algorithm>

#include "grammar/automaton.h"

namespace cadre {
namespace {

void SetBit(std::span<uint64_t> mask, int32_t id) {
  mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

}  // namespace

std::span<const uint64_t> Automaton::Mask(int32_t config) {
  const int32_t id = RepresentativeOf(config);
  if (At(id).mask == kUnknown) {
    std::vector<uint64_t> mask(trie_.mask_words());
    ComputeMask(id, mask);
    At(id).mask = static_cast<int32_t>(masks_.size());
    bytes_ += mask.size() * sizeof(uint64_t);
    masks_.push_back(std::move(mask));
  }
  return masks_[static_cast<size_t>(At(id).mask)];
}

std::span<const uint64_t> Automaton::FirstMask() {
  if (first_mask_.empty()) {
    first_mask_.resize(trie_.mask_words());
    steps_left_ = kMaxMaskSteps;
    SetTokens(trie_.others(), start_, true, first_mask_);
    SetTokens(trie_.plain(), start_, true, first_mask_);
    if (steps_left_ < 0) SetOneByteTokens(start_, first_mask_);
  }
  return first_mask_;
}

void Automaton::ComputeMask(int32_t config, std::span<uint64_t> mask) {
  steps_left_ = kMaxMaskSteps;
  const int run = PlainRun(config);
  if (run > 0) {
    const std::span<const uint64_t> plain = trie_.PlainMask(run);
    std::copy(plain.begin(), plain.end(), mask.begin());
  }
  SetTokens(trie_.others(), config, false, mask);
  if (run == TokenTrie::kMaxPlain) {
    for (const int32_t id : trie_.long_plain()) {
      if (steps_left_ >= 0 && Walk(config, trie_.bytes(id)) != kDead) SetBit(mask, id);
    }
  } else {
    SetTokens(trie_.plain(), config, false, mask);
  }
  if (steps_left_ < 0) SetOneByteTokens(config, mask);
}

// Sets the tokens of `tree` that lead somewhere from `config`; with strip_space those that do so
// without their leading space.
void Automaton::SetTokens(const TokenTrie::Tree& tree, int32_t config, bool strip_space,
                          std::span<uint64_t> mask) {
  path_.resize(static_cast<size_t>(trie_.max_token_bytes()) + 1);
  path_[0] = config;
  const auto num_nodes = static_cast<int32_t>(tree.nodes.size());
  for (int32_t i = 0; i < num_nodes && steps_left_ >= 0;) {
    const TokenTrie::Node& node = tree.nodes[static_cast<size_t>(i)];
    const int32_t before = path_[node.depth - 1U];
    const bool stripped = strip_space && node.depth == 1 && node.byte == ' ';
    const int32_t after = stripped ? before : Step(before, node.byte);
    if (after == kDead) {
      i = node.end;
      continue;
    }
    path_[node.depth] = after;
    for (int32_t t = node.tokens_begin; t < node.tokens_end; ++t) {
      SetBit(mask, tree.tokens[static_cast<size_t>(t)]);
    }
    ++i;
  }
}

void Automaton::SetOneByteTokens(int32_t config, std::span<uint64_t> mask) {
  for (const TokenTrie::Tree* tree : {&trie_.plain(), &trie_.others()}) {
    for (int32_t i = 0; i < static_cast<int32_t>(tree->nodes.size());) {
      const TokenTrie::Node& node = tree->nodes[static_cast<size_t>(i)];
      if (Step(config, node.byte) != kDead) {
        for (int32_t t = node.tokens_begin; t < node.tokens_end; ++t) {
          SetBit(mask, tree->tokens[static_cast<size_t>(t)]);
        }
      }
      i = node.end;
    }
  }
}

// How many plain characters in a row, whichever they are, lead on: at most kMaxPlain.
int Automaton::PlainRun(int32_t config) {
  int run = 0;
  while (run < TokenTrie::kMaxPlain && steps_left_ >= 0) {
    const int32_t next = NextPlain(config);
    if (next == kDead) break;
    if (next == config) return TokenTrie::kMaxPlain;
    config = next;
    ++run;
  }
  return run;
}

bool Automaton::AllLeadTo(int32_t config, uint8_t lo, uint8_t hi, int32_t& target) {
  int last_class = -1;
  for (int byte = lo; byte <= hi; ++byte) {
    if (grammar_.ClassOf(static_cast<uint8_t>(byte)) == last_class) continue;
    last_class = grammar_.ClassOf(static_cast<uint8_t>(byte));
    const int32_t next = Step(config, static_cast<uint8_t>(byte));
    if (next == kDead || (target != kUnknown && next != target)) return false;
    target = next;
  }
  return true;
}

int32_t Automaton::NextPlain(int32_t config) {
  if (At(config).next_plain != kUnknown) return At(config).next_plain;
  int32_t target = kUnknown;
  bool same = AllLeadTo(config, 0x20, '"' - 1, target) &&
              AllLeadTo(config, '"' + 1, '\\' - 1, target) &&
              AllLeadTo(config, '\\' + 1, 0x7F, target);
  // The bytes of longer characters: how many follow, and what the first of those may be.
  struct Lead {
    uint8_t lo, hi, second_lo, second_hi;
    int more;
  };
  constexpr Lead kLeads[] = {{0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1},
                             {0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1},
                             {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
                             {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2}};
  for (const Lead& lead : kLeads) {
    int32_t at = kUnknown;
    same = same && AllLeadTo(config, lead.lo, lead.hi, at);
    if (!same) break;
    for (int i = lead.more; i >= 0 && same; --i) {
      int32_t next = i == 0 ? target : kUnknown;
      const bool second = i == lead.more;
      same = AllLeadTo(at, second ? lead.second_lo : uint8_t{0x80},
                       second ? lead.second_hi : uint8_t{0xBF}, next);
      at = next;
    }
  }
  At(config).next_plain = same ? target : kDead;
  return At(config).next_plain;
}

// Where a repetition is farther from its bounds than any token reaches, how often it has repeated
// makes no difference to the mask: one count stands for all of those.
int32_t Automaton::Representative(const Stack& frame) const {
  const Grammar::Edge& edge = grammar_.edge(frame.edge);
  if (edge.kind != Grammar::EdgeKind::kRepeat) return frame.count;
  const int32_t reach = trie_.max_token_bytes() + 1;
  if (frame.count < edge.min) return edge.min - frame.count > reach ? 0 : frame.count;
  if (edge.max == Grammar::kUnlimited) return frame.count;
  return edge.max - frame.count > reach ? edge.min : frame.count;
}

int32_t Automaton::RepresentativeOf(int32_t config) {
  if (At(config).representative != kUnknown) return At(config).representative;
  std::vector<Item> items(ItemsOf(config).begin(), ItemsOf(config).end());
  std::vector<int32_t> frames;
  bool changed = false;
  for (Item& item : items) {
    frames.clear();
    for (int32_t s = item.stack; s != 0; s = stacks_[static_cast<size_t>(s)].parent) {
      frames.push_back(s);
    }
    int32_t stack = 0;
    for (auto s = frames.rbegin(); s != frames.rend(); ++s) {
      const Stack frame = stacks_[static_cast<size_t>(*s)];
      stack = Push(frame.edge, Representative(frame), stack);
    }
    changed = changed || stack != item.stack;
    item.stack = stack;
  }
  int32_t found = config;
  if (changed) {
    std::sort(items.begin(), items.end(), [](Item a, Item b) {
      return a.state != b.state ? a.state < b.state : a.stack < b.stack;
    });
    items.erase(std::unique(items.begin(), items.end()), items.end());
    found = Intern(items, At(config).can_end);
  }
  At(config).representative = found;
  return found;
}

}  // namespace cadre
