#include "transfer/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cadre {
namespace {

// A softmax of logits / temperature whose exponentials lie in `exps`.
struct Softmax {
  std::span<const float> logits;
  std::span<float> exps;
  float max = 0;
  float inverse_temperature = 1;
  double sum = 0, log_sum = 0;

  Softmax(std::span<const float> of, double temperature, std::span<float> to)
      : logits(of),
        exps(to),
        max(*std::max_element(of.begin(), of.end())),
        inverse_temperature(static_cast<float>(1 / temperature)) {
    for (size_t j = 0; j < logits.size(); ++j) {
      exps[j] = std::exp((logits[j] - max) * inverse_temperature);
      sum += static_cast<double>(exps[j]);
    }
    log_sum = std::log(sum);
  }

  double prob(size_t j) const { return static_cast<double>(exps[j]) / sum; }
  double log_prob(size_t j) const {
    return static_cast<double>((logits[j] - max) * inverse_temperature) - log_sum;
  }
};

// Each writes the gradient by the student's logits / temperature.

double ForwardKl(const Softmax& p, const Softmax& q, std::span<float> gradient) {
  double sum = 0;
  for (size_t j = 0; j < gradient.size(); ++j) {
    const double pj = p.prob(j);
    if (pj > 0) sum += pj * (p.log_prob(j) - q.log_prob(j));
    gradient[j] = static_cast<float>(q.prob(j) - pj);
  }
  return sum;
}

double ReverseKl(const Softmax& p, const Softmax& q, std::span<float> gradient) {
  double sum = 0;
  for (size_t j = 0; j < gradient.size(); ++j) {
    const double ratio = q.log_prob(j) - p.log_prob(j);
    sum += q.prob(j) * ratio;
    gradient[j] = static_cast<float>(ratio);
  }
  for (size_t j = 0; j < gradient.size(); ++j)
    gradient[j] = static_cast<float>(q.prob(j) * (static_cast<double>(gradient[j]) - sum));
  return sum;
}

double JensenShannon(double beta, const Softmax& p, const Softmax& q, std::span<float> gradient) {
  double sum = 0, mean = 0;
  for (size_t j = 0; j < gradient.size(); ++j) {
    const double pj = p.prob(j), qj = q.prob(j), mixed = beta * pj + (1 - beta) * qj;
    gradient[j] = 0;
    if (!(mixed > 0)) continue;  // both are
    const double log_mixed = std::log(mixed);
    if (pj > 0) sum += beta * pj * (p.log_prob(j) - log_mixed);
    if (!(qj > 0)) continue;
    const double ratio = q.log_prob(j) - log_mixed;
    sum += (1 - beta) * qj * ratio;
    mean += qj * ratio;
    gradient[j] = static_cast<float>(ratio);
  }
  for (size_t j = 0; j < gradient.size(); ++j) {
    gradient[j] =
        static_cast<float>((1 - beta) * q.prob(j) * (static_cast<double>(gradient[j]) - mean));
  }
  return sum;
}

size_t Likeliest(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

DistillFigures DistillRow(const DistillLoss& loss, std::span<const float> teacher, int32_t target,
                          double scale, std::span<float> student, std::vector<float>& scratch) {
  const size_t n = student.size();
  CADRE_CHECK(teacher.size() == n && target >= 0 && static_cast<size_t>(target) < n);
  const auto at = static_cast<size_t>(target);
  scratch.resize(4 * n);
  const auto part = [&](size_t i) { return std::span(scratch).subspan(i * n, n); };
  const auto gradient = part(3);
  const Softmax p(teacher, loss.temperature, part(0)), q(student, loss.temperature, part(1));
  DistillFigures figures;
  figures.agrees = Likeliest(teacher) == Likeliest(student);
  switch (loss.divergence) {
    case Divergence::kForwardKl:
      figures.divergence = ForwardKl(p, q, gradient);
      break;
    case Divergence::kReverseKl:
      figures.divergence = ReverseKl(p, q, gradient);
      break;
    case Divergence::kJensenShannon:
      figures.divergence = JensenShannon(loss.beta, p, q, gradient);
      break;
  }
  const Softmax hard = loss.temperature == 1 ? q : Softmax(student, 1, part(2));
  figures.cross_entropy = -hard.log_prob(at);
  // The divergence's is temperature^2 / temperature times that by logits / temperature.
  const double soft_scale = scale * loss.weight * loss.temperature;
  const double hard_scale = scale * (1 - loss.weight);
  for (size_t j = 0; j < n; ++j) {
    const double came = j == at ? 1 : 0;
    student[j] = static_cast<float>(soft_scale * static_cast<double>(gradient[j]) +
                                    hard_scale * (hard.prob(j) - came));
  }
  return figures;
}

}  // namespace cadre
