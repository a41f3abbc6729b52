// How far a student's next token is from its teacher's, at a temperature, mixed with the
// cross-entropy of the token that came, and the gradient of that by the student's logits. One row
// at a time; sums over rows are objectives' (distill_objective.h).
// Source: Hinton, Vinyals and Dean, arXiv 1503.02531; the generalised Jensen-Shannon divergence as
// in arXiv 2306.13649.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cadre {

// p: the teacher's softmax, q: the student's, both of logits / temperature.
enum class Divergence {
  kForwardKl,      // sum p log(p / q): the student covers all that the teacher says
  kReverseKl,      // sum q log(q / p): the student keeps to what the teacher says most
  kJensenShannon,  // b sum p log(p / m) + (1 - b) sum q log(q / m), m = b p + (1 - b) q
};

struct DistillLoss {
  Divergence divergence = Divergence::kForwardKl;
  double temperature = 1;
  double weight = 0.5;  // of temperature^2 times the divergence; the cross-entropy has the rest
  double beta = 0.5;    // b of kJensenShannon, in (0, 1)
};

struct DistillFigures {
  double divergence = 0;     // nats, before temperature^2
  double cross_entropy = 0;  // nats, at temperature 1
  bool agrees = false;       // the likeliest token is the teacher's (ties to the lower id)

  double Total(const DistillLoss& loss) const {
    return loss.weight * loss.temperature * loss.temperature * divergence +
           (1 - loss.weight) * cross_entropy;
  }
};

// Replaces `student` (logits, as many as `teacher`) by `scale` times the gradient of Total, and
// returns its parts. target within the vocabulary. `scratch` is memory to use again.
DistillFigures DistillRow(const DistillLoss& loss, std::span<const float> teacher, int32_t target,
                          double scale, std::span<float> student, std::vector<float>& scratch);

}  // namespace cadre
