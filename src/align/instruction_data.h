// Instruction data as samples, source by source, with what is held back of it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "align/read_lines.h"
#include "align/sample.h"
#include "align/tune_config.h"

namespace cadre {

// Samples side by side in one memory.
class SampleSet {
 public:
  void Add(const Sample& sample);
  int64_t size() const { return static_cast<int64_t>(begin_.size()) - 1; }
  std::span<const int32_t> tokens(int64_t i) const { return Of(tokens_, i); }
  std::span<const uint8_t> trained(int64_t i) const { return Of(trained_, i); }
  // Inputs: a sample's tokens but the last.
  int64_t rows(int64_t i) const { return std::ssize(tokens(i)) - 1; }
  int64_t total_rows() const { return std::ssize(tokens_) - size(); }
  int64_t total_trained() const { return total_trained_; }

 private:
  template <typename T>
  std::span<const T> Of(const std::vector<T>& all, int64_t i) const {
    const auto at = static_cast<size_t>(i);
    return {all.data() + begin_[at], begin_[at + 1] - begin_[at]};
  }

  std::vector<int32_t> tokens_;
  std::vector<uint8_t> trained_;
  std::vector<size_t> begin_ = {0};  // [samples + 1]
  int64_t total_trained_ = 0;
};

struct InstructionSource {
  std::string name;
  double weight = 0;
  SampleSet train;
  SampleSet held_back;
  LineCounts counts;
};

// Reads the sources one after another. Samples longer than segment_tokens are cut and counted;
// those with nothing to learn are left out and counted. Throws Error naming file and line for a
// line that cannot be used (unless such lines are skipped), and for a source of which nothing is
// left.
std::vector<InstructionSource> ReadInstructions(const std::vector<DataSource>& sources,
                                                const SftConfig& config, double held_back,
                                                const ChatText& text, ThreadPool& threads);

}  // namespace cadre
