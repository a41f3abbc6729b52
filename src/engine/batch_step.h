// Runs one planned step: the rows of all its requests through Forward together, then each request's
// own part of what follows, side by side on the threads.
#pragma once

#include <string>
#include <vector>

#include "engine/active_request.h"
#include "engine/sequence.h"
#include "model/forward.h"

namespace cadre {

class BatchStep {
 public:
  // What it is given must outlive it.
  BatchStep(const Model& model, ExpertSource& experts, Device& device,
            const SequenceConfig& config);

  // Afterwards the requests' chains have what was run, and their answers go on or have ended. A
  // request alone fails where its own logits are wrong. Throws what Forward throws; then nothing
  // has changed but the contents of pages that no id stands for.
  void Run(const std::vector<StepPart>& plan);

  // Since the beginning: rows that chose an expert. [layers, experts]
  const std::vector<int64_t>& expert_rows() const { return expert_rows_; }

 private:
  void Gather(const std::vector<StepPart>& plan);
  void Finish(const StepPart& part, size_t index);
  void TakePrompt(const StepPart& part, Mat<float> logits, Mat<const float> hidden);
  void Observe(const std::vector<StepPart>& plan, const Routing& routing);
  void GiveRouting(const std::vector<StepPart>& plan);

  const Model* model_;
  ExpertSource* experts_;
  Device* device_;
  SequenceConfig config_;
  Activations activations_;
  Buffer<float> logits_;
  std::vector<int64_t> expert_rows_;

  // Of the step.
  std::vector<int32_t> ids_;
  std::vector<int64_t> positions_;
  std::vector<int32_t> sequence_of_row_;
  std::vector<KvSequence> sequences_;
  std::vector<int64_t> wanted_rows_;
  std::vector<int64_t> first_wanted_;  // [parts + 1] into wanted_rows_
  std::vector<int64_t> first_row_;     // [parts + 1]
  std::vector<int32_t> top_k_;         // [rows]; empty: nobody wishes
  std::vector<float> min_prob_;
  std::vector<TokenRouting> routing_;  // [rows], of requests that ask
  std::vector<std::string> errors_;    // [parts]
};

}  // namespace cadre
