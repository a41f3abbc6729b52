#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/log_sum.h"

namespace cadre {
namespace {

// One predicted token.
struct TokenScore {
  double loss = 0;
  double reference_loss = 0;
  double kl = 0;
  bool same_top1 = false;
};

double KullbackLeibler(std::span<const float> reference, double reference_log_sum,
                       std::span<const float> logits, double log_sum) {
  double kl = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double log_p = static_cast<double>(reference[i]) - reference_log_sum;
    const double log_q = static_cast<double>(logits[i]) - log_sum;
    kl += std::exp(log_p) * (log_p - log_q);
  }
  return std::max(kl, 0.0);  // rounding may take it below
}

int64_t Top1(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// Experts of `row` that `reference_row` has too.
int64_t NumShared(std::span<const int32_t> row, std::span<const int32_t> reference_row) {
  return std::count_if(row.begin(), row.end(), [&](int32_t expert) {
    return expert >= 0 &&
           std::find(reference_row.begin(), reference_row.end(), expert) != reference_row.end();
  });
}

class Meter {
 public:
  Meter(WindowScorer& model, WindowScorer* reference) : model_(model), reference_(reference) {
    if (reference == nullptr) return;
    const ModelConfig& a = model.config();
    const ModelConfig& b = reference->config();
    if (a.vocab_size != b.vocab_size) {
      throw Error("the vocabularies have {} and {} rows but must be of one size", a.vocab_size,
                  b.vocab_size);
    }
    const bool routers_compare = !a.router.dense() && !b.router.dense() &&
                                 a.num_layers == b.num_layers &&
                                 a.router.num_experts == b.router.num_experts;
    if (routers_compare) shared_.resize(static_cast<size_t>(a.num_layers));
  }

  // False when cancelled; nothing is counted then.
  bool AddWindow(std::span<const int32_t> ids, const std::atomic<bool>* cancelled) {
    const int64_t begin = std::ssize(ids) / 2;
    const Mat<const float> logits = model_.Logits(ids, begin, cancelled);
    const Mat<const float> reference =
        reference_ != nullptr ? reference_->Logits(ids, begin, cancelled) : Mat<const float>();
    if (logits.empty() || (reference_ != nullptr && reference.empty())) return false;
    scores_.resize(static_cast<size_t>(logits.rows - 1));  // nothing comes after the last
    model_.device().threads().ParallelFor(std::ssize(scores_), [&](int64_t i, int) {
      scores_[static_cast<size_t>(i)] =
          Score(logits.row_span(i),
                reference_ != nullptr ? reference.row_span(i) : std::span<const float>(),
                static_cast<size_t>(ids[static_cast<size_t>(begin + i + 1)]));
    });
    for (const TokenScore& score : scores_) Count(score);
    for (size_t l = 0; l < shared_.size(); ++l) CountRouting(l);
    return true;
  }

  PerplexityResult result() const {
    PerplexityResult result;
    result.tokens = tokens_;
    result.loss = loss_.result();
    result.perplexity = std::exp(result.loss.mean);
    result.perplexity_error = result.perplexity * result.loss.error;
    if (reference_ == nullptr) return result;
    result.reference_perplexity = std::exp(reference_loss_.result().mean);
    result.kl = kl_.result();
    result.kl_max = kl_max_;
    result.top1_agreement = top1_.result();
    for (const double shared : shared_)
      result.routing_agreement.push_back(shared / static_cast<double>(routed_rows_));
    return result;
  }

 private:
  static TokenScore Score(std::span<const float> logits, std::span<const float> reference,
                          size_t target) {
    const double log_sum = LogSum(logits);
    TokenScore score{.loss = log_sum - static_cast<double>(logits[target])};
    if (reference.empty()) return score;
    const double reference_log_sum = LogSum(reference);
    score.reference_loss = reference_log_sum - static_cast<double>(reference[target]);
    score.kl = KullbackLeibler(reference, reference_log_sum, logits, log_sum);
    score.same_top1 = Top1(logits) == Top1(reference);
    return score;
  }

  void Count(const TokenScore& score) {
    ++tokens_;
    loss_.Add(score.loss);
    reference_loss_.Add(score.reference_loss);
    kl_.Add(score.kl);
    kl_max_ = std::max(kl_max_, score.kl);
    top1_.Add(score.same_top1 ? 1 : 0);
  }

  void CountRouting(size_t l) {
    const auto chosen = model_.Choices(static_cast<int64_t>(l));
    const auto wanted = reference_->Choices(static_cast<int64_t>(l));
    for (int64_t t = 0; t < chosen.rows; ++t) {
      shared_[l] += static_cast<double>(NumShared(chosen.row_span(t), wanted.row_span(t))) /
                    static_cast<double>(chosen.cols);
    }
    if (l == 0) routed_rows_ += chosen.rows;
  }

  WindowScorer& model_;
  WindowScorer* reference_;
  std::vector<TokenScore> scores_;
  int64_t tokens_ = 0;
  RunningMean loss_, reference_loss_, kl_, top1_;
  double kl_max_ = 0;
  std::vector<double> shared_;  // per layer, sum over rows of the share of experts in common
  int64_t routed_rows_ = 0;
};

}  // namespace

WindowScorer::WindowScorer(const Model& model, ExpertSource& experts, Device& device,
                           const SequenceConfig& config)
    : model_(&model),
      device_(&device),
      sequence_(model, experts, device, config),
      choices_(static_cast<size_t>(model.config.num_layers)) {}

Mat<const float> WindowScorer::Logits(std::span<const int32_t> ids, int64_t begin,
                                      const std::atomic<bool>* cancelled) {
  sequence_.KeepPrefixOf({});  // forgets all
  for (auto& layer : choices_) layer.clear();
  const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
    for (int64_t t = 0; t < routing.experts.rows; ++t) {
      const auto row = routing.experts.row_span(t);
      auto& choices = choices_[static_cast<size_t>(layer)];
      choices.insert(choices.end(), row.begin(), row.end());
    }
  };
  const int64_t num_rows = std::ssize(ids) - begin;
  logits_.Reserve(num_rows * config().vocab_size);
  const Mat<float> rows(logits_.data(), num_rows, config().vocab_size);
  const RunOptions options{.observer = &observer, .cancelled = cancelled};
  // What comes before needs no logits; the one row it leaves is overwritten.
  if (!sequence_.Append(ids.first(static_cast<size_t>(begin)), rows.Rows(0, 1), options)) return {};
  if (!sequence_.Append(ids.subspan(static_cast<size_t>(begin)), rows, options)) return {};
  return rows;
}

Mat<const int32_t> WindowScorer::Choices(int64_t l) const {
  const auto& choices = choices_[static_cast<size_t>(l)];
  const int64_t k = config().router.top_k;
  return {choices.data(), std::ssize(choices) / k, k};
}

PerplexityResult Perplexity(WindowScorer& model, WindowScorer* reference,
                            std::span<const int32_t> ids, const PerplexityOptions& options) {
  if (ids.size() < 4) throw Error("the text has {} tokens but must have four", ids.size());
  if (options.context < 4)
    throw Error("a window has {} tokens but must have four", options.context);
  const int64_t context = std::min(options.context, std::ssize(ids));
  const int64_t num_windows = std::ssize(ids) / context;
  Meter meter(model, reference);
  std::vector<int32_t> window;
  for (int64_t w = 0; w < num_windows; ++w) {
    const auto cut = ids.subspan(static_cast<size_t>(w * context), static_cast<size_t>(context));
    window.assign(cut.begin(), cut.end());
    if (options.bos_id >= 0) window[0] = options.bos_id;
    if (!meter.AddWindow(window, options.cancelled)) break;
    if (options.on_progress) options.on_progress(w + 1, num_windows);
  }
  return meter.result();
}

}  // namespace cadre
