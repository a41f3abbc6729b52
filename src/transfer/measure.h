// How well a model predicts what was kept back, and how far it is from a teacher there.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/thread_pool.h"
#include "transfer/model_scorer.h"
#include "transfer/step_data.h"

namespace cadre {

// Means over tokens, in nats.
struct Measured {
  int64_t tokens = 0;
  double loss = 0;            // -log p of the token that came
  double beginning_loss = 0;  // the same, of the group's beginning
  // Beside a teacher only:
  double teacher_loss = 0;
  double kl = 0;              // sum of p_teacher log(p_teacher / p), at temperature 1
  double top1_agreement = 0;  // share of tokens whose likeliest next token is the teacher's
};

struct MeasuredGroups {
  std::vector<std::pair<std::string, Measured>> groups;
  bool with_teacher = false;

  // Of all tokens together.
  Measured Total() const;
  // Mean of the losses of the groups' beginnings: what validations are compared by.
  double Score() const;
  // {group: figures}.
  OrderedJson Figures() const;
};

// All of the groups, or their beginnings. teacher: null for none; has as many logits as the model.
MeasuredGroups Measure(ModelScorer& model, ModelScorer* teacher, const StepData& data, bool all,
                       ThreadPool& threads);

// {"loss", "perplexity", "tokens"} and, with a teacher, {"kl", "top1_agreement", "teacher_loss"}.
OrderedJson FiguresOf(const Measured& measured, bool with_teacher);

}  // namespace cadre
