// Which experts are in memory and which goes when another comes: the bookkeeping of the store,
// without the memory and the reading. All that a step of a layer needs is marked before anything is
// given up for it, so that an expert never makes room for its neighbour of the same token. Time is
// counted in steps of a layer: layers come round in a cycle, and by the clock the next layer's
// experts would always be the oldest.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cadre {

enum class CachePolicy {
  kLru,        // what its layer has not used for the most steps goes first
  kFrequency,  // what its layer used least of late goes first: the share of its last steps, some
               // 50, and more for those used in the very last ones
};

class ExpertCache {
 public:
  // kFrequency: an expert is worth (1 - kDecay) sum over its uses of kDecay^age, about how likely
  // it is in any step, and kRecency kRecencyDecay^age of the last use, since neighbours in a text
  // share experts. Ages in steps of the layer. Measured on traces: LOG.md.
  static constexpr double kDecay = 0.98;
  static constexpr double kRecency = 0.2;
  static constexpr double kRecencyDecay = 0.5;

  // capacity: experts that have room, at least 1.
  ExpertCache(int64_t num_layers, int64_t num_experts, int64_t capacity, CachePolicy policy);

  // A step of this layer begins and will use these: they are touched, and marked until Unmark.
  // Marks of an earlier step that are left are taken away.
  void Use(int64_t layer, std::span<const int32_t> experts);
  void Unmark(int64_t layer, int64_t expert);

  // The expert's place in [0, capacity); none: it has none.
  std::optional<int64_t> Find(int64_t layer, int64_t expert) const;
  // A place for an expert that has none: a free one, else that of the unmarked expert which is
  // worth least. None: all are marked.
  std::optional<int64_t> Insert(int64_t layer, int64_t expert);
  void Remove(int64_t layer, int64_t expert);

  int64_t capacity() const { return static_cast<int64_t>(places_.size()); }

 private:
  struct Entry {
    int64_t place = -1;  // -1: not in memory
    int64_t last_step = 0;
    double uses = 0;  // weighed, as of last_step
    bool marked = false;
  };
  size_t Key(int64_t layer, int64_t expert) const {
    return static_cast<size_t>(layer * num_experts_ + expert);
  }
  void Touch(int64_t layer, Entry& entry);
  double Worth(size_t key) const;
  int64_t StepsUntil(size_t key) const;
  std::optional<int64_t> Victim() const;

  int64_t num_layers_;
  int64_t num_experts_;
  CachePolicy policy_;
  std::vector<Entry> entries_;   // by key
  std::vector<int64_t> steps_;   // of each layer so far
  std::vector<int64_t> places_;  // the key in each; -1: free
  std::vector<size_t> marked_;   // keys
  int64_t num_used_ = 0;         // places
  int64_t layer_ = 0;            // whose step it is
};

}  // namespace cadre
