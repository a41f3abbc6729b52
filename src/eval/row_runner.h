// Rows of many requests through Forward, side by side, and what each asked row's logits say to
// those who asked. Knows nothing of why rows are shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "eval/kv_branch.h"

namespace cadre {

// What is given, and what is asked for behind it. Neither is empty.
struct LikelihoodRequest {
  std::vector<int32_t> ids;  // both
  int64_t num_given = 0;     // the first ones

  // Rows [0, num_rows) are run; row t is asked how likely ids[t + 1] is from num_given - 1 on.
  int64_t num_rows() const { return std::ssize(ids) - 1; }
  std::span<const int32_t> rows() const {
    return std::span(ids).first(static_cast<size_t>(num_rows()));
  }
};

struct Likelihood {
  double log_likelihood = 0;  // sum over the asked ids of ln p, in their order
  bool is_greedy = true;      // each of them is the likeliest (ties: the lowest id)
};

// One request and what it has been told. The request must outlive it.
struct AskedRequest {
  explicit AskedRequest(const LikelihoodRequest& of)
      : request(&of),
        log_p(of.ids.size() - static_cast<size_t>(of.num_given)),
        is_greedy(log_p.size()) {}

  const LikelihoodRequest* request;
  std::vector<double> log_p;    // of each asked id
  std::vector<char> is_greedy;  // the same; no vector<bool>: threads write side by side

  Likelihood Sum() const;
};

// Rows that follow each other in one branch, which has room for them.
struct RowsPart {
  const KvBranch* branch = nullptr;
  std::span<const int32_t> ids;  // from position `begin` on
  int64_t begin = 0;
  std::vector<AskedRequest*> asked;  // whom they may tell something

  // The first position that somebody asks for.
  int64_t first_wanted() const;
};

// Not thread-safe. Model, experts and device must outlive it.
class RowRunner {
 public:
  static constexpr int64_t kStepRows = 512;  // of one Forward, at most

  RowRunner(const Model& model, ExpertSource& experts, Device& device,
            const SequenceConfig& config);

  // Runs the parts in their order, as many rows in a step as are good for the device, whosever they
  // are. False: cancelled in between.
  bool Run(std::span<const RowsPart> parts, const std::atomic<bool>* cancelled);

  int64_t rows_run() const { return rows_run_; }  // since the beginning

 private:
  void ClearStep();
  void AddRows(const RowsPart& part, int64_t first, int64_t count);
  void RunStep();
  void Tell(int64_t wanted) const;

  const Model* model_;
  ExpertSource* experts_;
  Device* device_;
  SequenceConfig config_;
  Activations activations_;
  Buffer<float> logits_;
  int64_t rows_run_ = 0;

  // Of the step.
  std::vector<int32_t> ids_;
  std::vector<int64_t> positions_;
  std::vector<int32_t> sequence_of_row_;
  std::vector<KvSequence> sequences_;
  std::vector<int64_t> wanted_rows_;
  std::vector<std::span<AskedRequest* const>> told_;  // [wanted_rows] who asks
};

}  // namespace cadre
