#include "study/tracer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/testing.h"
#include "engine/test_model.h"
#include "study/study_text.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;
using testing_model::SmallModel;

SmallModel DeepModel() {
  ModelConfig config = testing_model::SmallConfig();
  config.num_layers = 6;
  config.router = {.num_experts = 8, .top_k = 2};
  return testing_model::MakeModel(config);
}

// Two domains: documents of 5 and 9 ids, and of 3, in windows of 4.
RoutingTrace Texts() {
  RoutingTrace trace;
  trace.vocab_size = testing_model::SmallVocabulary().size();
  int32_t id = 260;
  const auto add_document = [&](int64_t tokens) {
    RoutingTrace::Document document{.domain = std::ssize(trace.domains) - 1,
                                    .first_window = std::ssize(trace.windows),
                                    .begin = trace.num_tokens(),
                                    .end = trace.num_tokens() + tokens};
    for (int64_t t = 0; t < tokens; ++t) trace.ids.push_back(id++);
    for (int64_t begin = document.begin; begin < document.end; begin += 4) {
      trace.windows.push_back({begin, std::min(begin + 4, document.end)});
      ++document.num_windows;
    }
    trace.documents.push_back(document);
  };
  trace.domains.push_back({.name = "a", .num_documents = 2, .end = 14});
  add_document(5);
  add_document(9);
  trace.domains.push_back(
      {.name = "b", .first_document = 2, .num_documents = 1, .begin = 14, .end = 17});
  add_document(3);
  return trace;
}

// Every expert in memory, and a note of what a store would have been told to fetch.
class GuessedExperts : public ResidentExperts {
 public:
  explicit GuessedExperts(const Model& model)
      : ResidentExperts(model.weights), guessed_(static_cast<size_t>(model.config.num_layers)) {}
  bool wants_guesses() const override { return true; }
  void Guess(int64_t layer, std::span<const int32_t> experts) override {
    guessed_[static_cast<size_t>(layer)].assign(experts.begin(), experts.end());
  }
  const std::vector<int32_t>& guessed(int64_t layer) const {
    return guessed_[static_cast<size_t>(layer)];
  }

 private:
  std::vector<std::vector<int32_t>> guessed_;
};

RoutingTrace Traced(const SmallModel& small, int32_t bos_id = 1) {
  RoutingTrace trace = Texts();
  const auto device = MakeReferenceDevice();
  ResidentExperts experts(small.model.weights);
  EXPECT_TRUE(TraceRouting(small.model, experts, *device, kExactPath, {.bos_id = bos_id}, trace));
  return trace;
}

// The model run token by token over each window, as a store would see it.
TEST(TraceRouting, IsWhatATokenAtATimeShows) {
  const SmallModel small = DeepModel();
  const RoutingTrace trace = Traced(small);
  const auto device = MakeReferenceDevice();
  GuessedExperts experts(small.model);
  Sequence sequence(small.model, experts, *device, kExactPath);
  std::vector<float> logits(static_cast<size_t>(small.config.vocab_size));
  const Mat<float> row(logits.data(), 1, small.config.vocab_size);
  int64_t foreseen = 0;
  for (const auto& window : trace.windows) {
    sequence.KeepPrefixOf({});
    const int32_t bos = 1;
    ASSERT_TRUE(sequence.Append({&bos, 1}, row));
    for (int64_t t = window.begin; t < window.end; ++t) {
      const RoutingObserver observer = [&](int64_t l, const Routing& routing) {
        const auto& layer = trace.layers[static_cast<size_t>(l)];
        const auto choices = trace.Choices(layer, t);
        double entropy = 0;
        for (const float p : routing.probs.row_span(0)) entropy -= p * std::log(p);
        EXPECT_NEAR(layer.entropy[static_cast<size_t>(t)], entropy, 1e-5);
        for (size_t r = 0; r < choices.size(); ++r) {
          EXPECT_EQ(choices[r], routing.experts.row(0)[r]);
          EXPECT_EQ(layer.gates[static_cast<size_t>(t) * 2 + r], routing.gates.row(0)[r]);
          const auto& guessed = experts.guessed(l);
          if (l > 0) foreseen += std::count(guessed.begin(), guessed.end(), choices[r]);
        }
      };
      const auto id = std::span(trace.ids).subspan(static_cast<size_t>(t), 1);
      ASSERT_TRUE(sequence.Append(id, row, {.observer = &observer}));
    }
  }
  // Of two fetched one layer before: what model/guess.h told the store.
  int64_t counted = 0;
  for (const auto& layer : trace.layers) {
    for (int64_t d = 0; d < std::ssize(trace.documents); ++d)
      counted += trace.Foreseen(layer, 0, d)[1];
  }
  EXPECT_EQ(counted, foreseen);
  EXPECT_GT(counted, 0);
}

TEST(TraceRouting, MarginsAreOfTheLastChosenAndTheBestNotChosen) {
  const RoutingTrace trace = Traced(DeepModel());
  for (const auto& layer : trace.layers) {
    ASSERT_EQ(std::ssize(layer.margin), trace.num_tokens());
    for (const float margin : layer.margin) EXPECT_GE(margin, 0);
  }
}

TEST(TraceRouting, KeepsBosApart) {
  const SmallModel small = DeepModel();
  const RoutingTrace with = Traced(small), without = Traced(small, -1);
  EXPECT_EQ(with.layers[0].bos_experts.size(), 2U);
  EXPECT_TRUE(without.layers[0].bos_experts.empty());
  EXPECT_EQ(with.layers[0].experts.size(), without.layers[0].experts.size());
  EXPECT_NE(with.layers[3].experts, without.layers[3].experts);
}

TEST(TraceRouting, WhatIsFetchedMoreHoldsMore) {
  const RoutingTrace trace = Traced(DeepModel());
  for (size_t l = 0; l < trace.layers.size(); ++l) {
    for (size_t d = 0; d < RoutingTrace::kDistances.size(); ++d) {
      const auto hits = trace.Foreseen(trace.layers[l], d, 0);
      const bool exists = static_cast<int64_t>(l) >= RoutingTrace::kDistances[d];
      EXPECT_EQ(hits[3] > 0, exists);
      for (size_t f = 1; f < hits.size(); ++f) EXPECT_GE(hits[f], hits[f - 1]);
      EXPECT_LE(hits[3], trace.documents[0].tokens() * trace.top_k);
    }
  }
}

TEST(TraceRouting, ADenseModelHasNothingToStudy) {
  ModelConfig config = testing_model::SmallConfig();
  config.router = {};
  const SmallModel dense = testing_model::MakeModel(config);
  const auto device = MakeReferenceDevice();
  ResidentExperts experts(dense.model.weights);
  RoutingTrace trace = Texts();
  EXPECT_THAT(ErrorOf([&] { TraceRouting(dense.model, experts, *device, kExactPath, {}, trace); }),
              HasSubstr("dense"));
}

TEST(TraceRouting, StopsBetweenSteps) {
  const SmallModel small = DeepModel();
  const auto device = MakeReferenceDevice();
  ResidentExperts experts(small.model.weights);
  RoutingTrace trace = Texts();
  const std::atomic<bool> cancelled = true;
  EXPECT_FALSE(
      TraceRouting(small.model, experts, *device, kExactPath, {.cancelled = &cancelled}, trace));
}

}  // namespace
}  // namespace cadre
