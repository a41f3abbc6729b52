// What the tests of this floor share: a small model in a file, reads that go wrong, and a plain
// replay of a trace of routing.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/testing.h"
#include "model/load.h"
#include "model/testing.h"
#include "store/disk_io.h"
#include "store/expert_cache.h"

namespace cadre::store_testing {

// What the next reads do. Changed by the test while the loader runs.
struct Faults {
  std::atomic<size_t> longest = std::numeric_limits<size_t>::max();  // more is not told
  std::atomic<int> error = 0;                                        // of every read
  std::atomic<int> error_of_direct = 0;                              // of reads at whole blocks
  std::atomic<int> delay_ms = 0;
  std::atomic<int64_t> reads = 0;

  // Results wait here until it is opened.
  void Close() {
    const std::lock_guard lock(mutex);
    closed = true;
  }
  void Open() {
    {
      const std::lock_guard lock(mutex);
      closed = false;
    }
    opened.notify_all();
  }
  std::vector<uint64_t> Offsets() {
    const std::lock_guard lock(mutex);
    return offsets;
  }
  void WaitForReads(size_t count) {
    while (Offsets().size() < count) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  std::mutex mutex;
  std::condition_variable opened;
  bool closed = false;
  std::vector<uint64_t> offsets;  // of all reads so far
};

// Real reads with those faults.
class FaultyIo : public DiskIo {
 public:
  FaultyIo(Faults& faults, int depth) : faults_(faults), inner_(MakeThreadIo(depth)) {}
  const char* name() const override { return "faulty"; }

  void Submit(const DiskRead& read) override {
    ++faults_.reads;
    {
      const std::lock_guard lock(faults_.mutex);
      faults_.offsets.push_back(read.offset);
    }
    int error = faults_.error;
    const bool whole = read.offset % 4096 == 0 && read.bytes % 4096 == 0;
    if (error == 0 && whole) error = faults_.error_of_direct;
    if (error != 0) {
      failed_.push_back({read.tag, -error});
    } else {
      inner_->Submit(read);
    }
  }

  size_t Wait(std::span<DiskResult> results) override {
    {
      std::unique_lock lock(faults_.mutex);
      faults_.opened.wait(lock, [&] { return !faults_.closed; });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(faults_.delay_ms));
    if (!failed_.empty()) {
      results[0] = failed_.back();
      failed_.pop_back();
      return 1;
    }
    const size_t count = inner_->Wait(results);
    const auto longest = static_cast<int64_t>(std::min<size_t>(faults_.longest, size_t{1} << 30));
    for (DiskResult& result : results.first(count)) result.bytes = std::min(result.bytes, longest);
    return count;
  }

 private:
  Faults& faults_;
  std::unique_ptr<DiskIo> inner_;
  std::vector<DiskResult> failed_;
};

// Several pieces to each matrix, in pieces of 6 blocks: 64 rows of 64 floats or 16 of 200.
inline ModelConfig StoreConfig() {
  ModelConfig config = model_testing::TinyConfig();
  config.dim = 64;
  config.hidden_dim = 200;
  config.num_heads = 8;
  config.num_layers = 3;
  config.router = {.num_experts = 6, .top_k = 2};
  return config;
}

// That model, random, in a file.
class ModelFile {
 public:
  explicit ModelFile(DType type = DType::kF32) : path_(folder_ / "model.gguf") {
    const ModelConfig config = StoreConfig();
    model_testing::SaveArenaAsGguf(config, model_testing::RandomArena(ParameterLayout(config)),
                                   type, path_);
    loaded_.emplace(LoadedModel::Load(path_));
  }
  const std::string& path() const { return path_; }
  const LoadedModel& loaded() const { return *loaded_; }
  const Model& model() const { return loaded_->model(); }

 private:
  base_testing::TempFolder folder_;
  std::string path_;
  std::optional<LoadedModel> loaded_;
};

// A step of a layer: the experts it needs, ascending.
struct TraceStep {
  int64_t layer;
  std::vector<int32_t> experts;
};

// Hits of a cache that does what expert_cache.h says, written another way: all uses are remembered
// and worths worked out from scratch.
class Replay {
 public:
  Replay(int64_t num_layers, size_t capacity, CachePolicy policy)
      : num_layers_(num_layers), capacity_(capacity), policy_(policy) {}

  void Run(const TraceStep& step) {
    const int64_t now = ++steps_[step.layer];
    layer_ = step.layer;
    std::vector<Key> present, missing;
    marked_.clear();
    for (const int32_t expert : step.experts) {
      const Key key{step.layer, expert};
      (cached_.contains(key) ? present : missing).push_back(key);
      uses_[key].push_back(now);
      marked_.insert(key);
    }
    hits_ += std::ssize(present);
    misses_ += std::ssize(missing);
    pending_ = missing;
    Fill();
    for (const auto* part : {&present, &missing}) {
      for (const Key& key : *part) {
        marked_.erase(key);
        Fill();
      }
    }
  }

  int64_t hits() const { return hits_; }
  int64_t misses() const { return misses_; }

 private:
  using Key = std::pair<int64_t, int32_t>;  // layer, expert

  void Fill() {
    while (!pending_.empty()) {
      if (cached_.size() == capacity_) {
        const Key* victim = nullptr;
        for (const Key& key : cached_)
          if (!marked_.contains(key) && (victim == nullptr || Rank(key) < Rank(*victim)))
            victim = &key;
        if (victim == nullptr) return;
        cached_.erase(Key(*victim));
      }
      cached_.insert(pending_.front());
      pending_.erase(pending_.begin());
    }
  }

  // The least goes first.
  std::pair<double, int64_t> Rank(const Key& key) {
    const int64_t now = steps_[key.first];
    double worth = 0;
    if (policy_ == CachePolicy::kLru) {
      worth = static_cast<double>(uses_[key].back() - now);
    } else {
      for (const int64_t use : uses_[key])
        worth += std::pow(ExpertCache::kDecay, static_cast<double>(now - use));
      worth = (1 - ExpertCache::kDecay) * worth +
              ExpertCache::kRecency * std::pow(ExpertCache::kRecencyDecay,
                                               static_cast<double>(now - uses_[key].back()));
    }
    // Worths are worked out in another order than the cache does: what differs by rounding is
    // equal.
    const int64_t away = key.first > layer_ ? key.first - layer_ : key.first - layer_ + num_layers_;
    return {std::round(worth * 1e12) * 1e-12, -away};
  }

  int64_t num_layers_;
  size_t capacity_;
  CachePolicy policy_;
  int64_t layer_ = 0;
  std::map<int64_t, int64_t> steps_;
  std::map<Key, std::vector<int64_t>> uses_;
  std::set<Key> cached_;
  std::set<Key> marked_;
  std::vector<Key> pending_;
  int64_t hits_ = 0;
  int64_t misses_ = 0;
};

}  // namespace cadre::store_testing
