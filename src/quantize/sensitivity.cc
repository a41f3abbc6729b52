#include "quantize/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quantize/importance.h"
#include "quantize/matrices.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

constexpr DType kProbe = DType::kQ4_0;

double LogSum(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return max + std::log(sum);
}

double Divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_sum = LogSum(p_logits), q_sum = LogSum(q_logits);
  double kl = 0;
  for (size_t i = 0; i < p_logits.size(); ++i) {
    const double log_p = static_cast<double>(p_logits[i]) - p_sum;
    kl += std::exp(log_p) * (log_p - (static_cast<double>(q_logits[i]) - q_sum));
  }
  return std::max(kl, 0.0);
}

// Runs the text through a model.
class Text {
 public:
  Text(std::span<const int32_t> ids, const SensitivityOptions& options) {
    const int64_t count = std::min(std::ssize(ids), options.tokens);
    context_ = std::min(options.context, count);
    for (int64_t i = 0; i < count / context_ * context_; ++i) {
      const bool first = i % context_ == 0 && options.bos_id >= 0;
      ids_.push_back(first ? options.bos_id : ids[static_cast<size_t>(i)]);
    }
  }

  int64_t tokens() const { return std::ssize(ids_); }

  // [tokens, vocab], exact.
  void Run(const Model& model, Device& device, Mat<float> logits) const {
    ResidentExperts experts(model.weights);
    Sequence sequence(model, experts, device, kExactPath);
    for (int64_t begin = 0; begin < tokens(); begin += context_) {
      sequence.KeepPrefixOf({});  // forgets all
      const int64_t end = std::min(begin + context_, tokens());
      sequence.Append(
          std::span(ids_).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
          logits.Rows(begin, end));
    }
  }

 private:
  std::vector<int32_t> ids_;
  int64_t context_;
};

// A matrix of a copy of the model, rounded while this lives.
class Rounded {
 public:
  Rounded(Weight& w, std::span<const float> importance, ThreadPool& threads)
      : w_(w), original_(w), bytes_(w.rows * RowBytes(kProbe, w.cols)) {
    const int64_t row_bytes = RowBytes(kProbe, w.cols);
    std::vector<double> errors(static_cast<size_t>(w.rows));
    threads.ParallelFor(w.rows, [&](int64_t r, int) {
      std::vector<float> values(static_cast<size_t>(w.cols)), again(values.size());
      std::byte* to = bytes_.data() + r * row_bytes;
      DecodeRow(original_.type, original_.row(r), values);
      EncodeRow(kProbe, values, to);
      DecodeRow(kProbe, to, again);
      double error = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        const double miss = static_cast<double>(again[i]) - values[i];
        error += (importance.empty() ? 1.0 : static_cast<double>(importance[i])) * miss * miss;
      }
      errors[static_cast<size_t>(r)] = error;
    });
    for (const double error : errors) error_ += error;
    w_ = {bytes_.data(), kProbe, original_.rows, original_.cols};
  }
  ~Rounded() { w_ = original_; }
  Rounded(const Rounded&) = delete;
  Rounded& operator=(const Rounded&) = delete;

  // Sum of importance * squared error.
  double error() const { return error_; }

 private:
  Weight& w_;
  const Weight original_;
  Buffer<std::byte> bytes_;
  double error_ = 0;
};

// Matrices that are rounded together, as places in the list of all.
struct Group {
  std::string name;
  std::vector<size_t> places;
};

std::vector<Group> GroupsOf(std::span<const NamedMatrix> matrices) {
  std::vector<Group> groups;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < matrices.size(); ++i) {
    if (matrices[i].role == TensorRole::kRouter) continue;
    if (matrices[i].weight->cols % Info(kProbe).block_elems != 0) continue;
    const auto [at, is_new] = known.emplace(matrices[i].name, groups.size());
    if (is_new) groups.push_back({matrices[i].name, {}});
    groups[at->second].places.push_back(i);
  }
  return groups;
}

}  // namespace

std::map<std::string, float> MeasureSensitivity(const Model& model, const ImportanceMatrix& matrix,
                                                Device& device, std::span<const int32_t> ids,
                                                const SensitivityOptions& options) {
  const Text text(ids, options);
  const int64_t vocab = model.config.vocab_size;
  Buffer<float> expected_memory(text.tokens() * vocab), found_memory(text.tokens() * vocab);
  const Mat<float> expected = expected_memory.AsMat(text.tokens(), vocab);
  const Mat<float> found = found_memory.AsMat(text.tokens(), vocab);
  text.Run(model, device, expected);

  const Importance importance(model, matrix, "the importance matrix");
  Model copy = model;
  // The list of the copy's matrices goes with that of the model's, whose weights are known.
  const auto matrices = MatricesOf(model), of_copy = MatricesOf(copy);
  auto groups = GroupsOf(matrices);
  const TensorNames names(TensorLayout::kGguf, model.config.router.dense());
  if (model.config.tie_embeddings) {
    std::erase_if(groups, [&](const Group& group) { return group.name == names.Head(); });
  }
  if (model.weights.embedding.cols % Info(kProbe).block_elems == 0)
    groups.push_back({names.Embedding(), {}});

  std::map<std::string, float> sensitivity;
  int64_t done = 0;
  for (const Group& group : groups) {
    if (options.cancelled != nullptr && *options.cancelled) break;
    std::vector<std::unique_ptr<Rounded>> rounded;
    double error = 0;  // that one token meets
    const auto round = [&](const Weight& original, Weight& w) {
      rounded.push_back(std::make_unique<Rounded>(w, importance.Of(original), device.threads()));
      error += rounded.back()->error() * importance.EnergyPerToken(original);
    };
    for (const size_t i : group.places)
      round(*matrices[i].weight, const_cast<Weight&>(*of_copy[i].weight));
    if (group.places.empty()) {
      round(model.weights.embedding, copy.weights.embedding);
      if (model.config.tie_embeddings) copy.weights.head = copy.weights.embedding;
    }
    if (error > 0) {
      text.Run(copy, device, found);
      std::vector<double> kl(static_cast<size_t>(text.tokens()));
      device.threads().ParallelFor(text.tokens(), [&](int64_t t, int) {
        kl[static_cast<size_t>(t)] = Divergence(expected.row_span(t), found.row_span(t));
      });
      double sum = 0;
      for (const double value : kl) sum += value;
      sensitivity[group.name] =
          static_cast<float>(sum / static_cast<double>(text.tokens()) / error);
    }
    if (model.config.tie_embeddings) copy.weights.head = model.weights.head;
    if (options.on_progress) options.on_progress(++done, std::ssize(groups));
  }
  return sensitivity;
}

}  // namespace cadre
