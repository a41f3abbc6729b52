#include "grammar/automaton.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

using EdgeKind = Grammar::EdgeKind;

constexpr uint64_t kHashFactor = 0x9E3779B97F4A7C15;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * kHashFactor;
  return hash ^ (hash >> 29);
}

uint64_t Key(int32_t a, int32_t b) {
  return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
}

}  // namespace

Automaton::Automaton(const Grammar& grammar, const TokenTrie& trie)
    : grammar_(grammar),
      trie_(trie),
      stack_ids_(64, StackHash{this}, StackEqual{this}),
      config_ids_(64, IdHash{this}, IdEqual{this}) {
  const Grammar::Rule& root = grammar.rule(grammar.root());
  stacks_.push_back({-1, 0, -1, root.nests ? 1 : 0});
  Enter(root.start, 0);
  start_ = Close();
  CADRE_CHECK(start_ != kDead);
}

size_t Automaton::StackHash::operator()(int32_t id) const {
  const Stack& stack = self->stacks_[static_cast<size_t>(id)];
  return Mix(Mix(kHashFactor, Key(stack.edge, stack.count)), static_cast<uint32_t>(stack.parent));
}

bool Automaton::StackEqual::operator()(int32_t a, int32_t b) const {
  const Stack& x = self->stacks_[static_cast<size_t>(a)];
  const Stack& y = self->stacks_[static_cast<size_t>(b)];
  return x.edge == y.edge && x.count == y.count && x.parent == y.parent;
}

std::span<const Automaton::Item> Automaton::ItemsOf(int32_t config) const {
  const Config& c = At(config);
  return std::span(items_).subspan(static_cast<size_t>(c.items_begin),
                                   static_cast<size_t>(c.items_end - c.items_begin));
}

size_t Automaton::HashOf(int32_t config) const {
  uint64_t hash = At(config).can_end ? 1 : 2;
  for (const Item item : ItemsOf(config)) hash = Mix(hash, Key(item.state, item.stack));
  return hash;
}

bool Automaton::Same(int32_t a, int32_t b) const {
  return At(a).can_end == At(b).can_end && std::ranges::equal(ItemsOf(a), ItemsOf(b));
}

int32_t Automaton::Push(int32_t edge, int32_t count, int32_t parent) {
  const bool nests = grammar_.rule(grammar_.edge(edge).rule).nests;
  const int32_t depth = stacks_[static_cast<size_t>(parent)].depth + (nests ? 1 : 0);
  stacks_.push_back({edge, count, parent, depth});
  const auto [found, fresh] = stack_ids_.insert(static_cast<int32_t>(stacks_.size() - 1));
  if (fresh) {
    bytes_ += sizeof(Stack) + 32;
  } else {
    stacks_.pop_back();
  }
  return *found;
}

// A place whose rule cannot end within the nesting allowed is none.
void Automaton::Enter(int32_t state, int32_t stack) {
  const int need = grammar_.state(state).need;
  if (stacks_[static_cast<size_t>(stack)].depth + need > Grammar::kMaxNesting) return;
  if (seen_.insert(Key(state, stack)).second) entered_.push_back({state, stack});
}

void Automaton::Call(int32_t id, int32_t count, int32_t stack) {
  const Grammar::Edge& edge = grammar_.edge(id);
  const Grammar::Rule& called = grammar_.rule(edge.rule);
  const int32_t depth = stacks_[static_cast<size_t>(stack)].depth;
  // What lies behind the call must be able to end too, or the call leads nowhere.
  if (depth + grammar_.state(edge.target).need > Grammar::kMaxNesting) return;
  if (depth + (called.nests ? 1 : 0) + grammar_.state(called.start).need > Grammar::kMaxNesting)
    return;
  // A call that is the last thing of its rule leaves nothing to come back to. One that nests is
  // kept, because stacks count nesting.
  const bool last = edge.kind == EdgeKind::kRule && grammar_.state(edge.target).rule >= 0;
  Enter(called.start, last && !called.nests ? stack : Push(id, count, stack));
}

// A rule has ended: on with the one that called it.
void Automaton::Leave(int32_t stack) {
  if (stack == 0) {
    can_end_ = true;
    return;
  }
  const Stack frame = stacks_[static_cast<size_t>(stack)];
  const Grammar::Edge& edge = grammar_.edge(frame.edge);
  if (edge.kind == EdgeKind::kRule) return Enter(edge.target, frame.parent);
  int32_t count = frame.count + 1;
  if (edge.max == Grammar::kUnlimited) count = std::min(count, edge.min);
  if (count >= edge.min) Enter(edge.target, frame.parent);
  if (edge.max == Grammar::kUnlimited || count < edge.max) Call(frame.edge, count, frame.parent);
}

int32_t Automaton::Close() {
  std::vector<Item> reading;
  for (size_t i = 0; i < entered_.size(); ++i) {
    const auto [id, stack] = entered_[i];
    const Grammar::State& state = grammar_.state(id);
    --steps_left_;
    if (state.rule >= 0) {
      Leave(stack);
      continue;
    }
    if (state.reads) reading.push_back({id, stack});
    for (int32_t e = state.first_edge; e >= 0; e = grammar_.edge(e).next) {
      const Grammar::Edge& edge = grammar_.edge(e);
      if (edge.kind == EdgeKind::kByte) continue;
      --steps_left_;
      if (edge.kind == EdgeKind::kEmpty || (edge.kind == EdgeKind::kRepeat && edge.min == 0)) {
        Enter(edge.target, stack);
      }
      if (edge.kind != EdgeKind::kEmpty) Call(e, 0, stack);
    }
  }
  const bool can_end = can_end_;
  entered_.clear();
  seen_.clear();
  can_end_ = false;
  return Intern(reading, can_end);
}

int32_t Automaton::Intern(std::vector<Item>& items, bool can_end) {
  if (items.empty() && !can_end) return kDead;
  std::sort(items.begin(), items.end(), [](Item a, Item b) {
    return a.state != b.state ? a.state < b.state : a.stack < b.stack;
  });
  const auto begin = static_cast<int32_t>(items_.size());
  items_.insert(items_.end(), items.begin(), items.end());
  configs_.push_back({begin, static_cast<int32_t>(items_.size()), can_end});
  const auto [found, fresh] = config_ids_.insert(static_cast<int32_t>(configs_.size() - 1));
  if (fresh) {
    bytes_ += sizeof(Config) + 32 + items.size() * sizeof(Item);
  } else {
    configs_.pop_back();
    items_.resize(static_cast<size_t>(begin));
  }
  return *found;
}

int32_t Automaton::Step(int32_t config, uint8_t byte) {
  const int byte_class = grammar_.ClassOf(byte);
  if (At(config).first_step == kUnknown) {
    At(config).first_step = static_cast<int32_t>(steps_.size());
    steps_.resize(steps_.size() + static_cast<size_t>(grammar_.num_classes()), kUnknown);
    bytes_ += sizeof(int32_t) * static_cast<size_t>(grammar_.num_classes());
    steps_left_ -= grammar_.num_classes() / 4;  // a step shall stand for 16 bytes at most
  }
  const auto slot = static_cast<size_t>(At(config).first_step + byte_class);
  if (steps_[slot] == kUnknown) steps_[slot] = ComputeStep(config, byte_class);
  return steps_[slot];
}

int32_t Automaton::ComputeStep(int32_t config, int byte_class) {
  const uint8_t byte = grammar_.Representative(byte_class);
  for (const Item item : ItemsOf(config)) {
    for (int32_t e = grammar_.state(item.state).first_edge; e >= 0; e = grammar_.edge(e).next) {
      const Grammar::Edge& edge = grammar_.edge(e);
      --steps_left_;
      if (edge.kind != EdgeKind::kByte || byte < edge.lo || byte > edge.hi) continue;
      Enter(edge.target, item.stack);
    }
  }
  return Close();
}

int32_t Automaton::Walk(int32_t config, std::string_view bytes) {
  for (const char byte : bytes) {
    if (config == kDead) break;
    config = Step(config, static_cast<uint8_t>(byte));
  }
  return config;
}

std::vector<Automaton::Place> Automaton::Export(int32_t config) const {
  std::vector<Place> places;
  for (const Item item : ItemsOf(config)) {
    Place place{item.state, {}};
    for (int32_t s = item.stack; s != 0; s = stacks_[static_cast<size_t>(s)].parent) {
      const Stack& stack = stacks_[static_cast<size_t>(s)];
      place.frames.push_back({stack.edge, stack.count});
    }
    std::reverse(place.frames.begin(), place.frames.end());
    places.push_back(std::move(place));
  }
  if (At(config).can_end) {
    places.push_back({grammar_.rule(grammar_.root()).end, {}});
  }
  return places;
}

int32_t Automaton::Import(std::span<const Place> places) {
  std::vector<Item> items;
  bool can_end = false;
  for (const Place& place : places) {
    int32_t stack = 0;
    for (const Frame frame : place.frames) stack = Push(frame.edge, frame.count, stack);
    if (grammar_.state(place.state).rule >= 0) {
      can_end = true;
    } else {
      items.push_back({place.state, stack});
    }
  }
  return Intern(items, can_end);
}

}  // namespace cadre
