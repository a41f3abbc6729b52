#include "quantize/collect.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "ops/forwarding_device.h"
#include "quantize/matrices.h"

namespace cadre {
namespace {

constexpr int64_t kColumnsAtOnce = 64;

// What one matrix was multiplied with.
struct Inputs {
  std::vector<double> sums;  // [cols] of squares
  int64_t rows = 0;
};

// A device that computes as another does, and sums up the inputs of the matrices it was told of.
class ListeningDevice : public ForwardingDevice {
 public:
  ListeningDevice(Device& device, std::span<const NamedMatrix> matrices)
      : ForwardingDevice(device) {
    for (const auto& matrix : matrices) {
      inputs_[matrix.weight->data].sums.resize(static_cast<size_t>(matrix.weight->cols));
    }
  }

  const Inputs& Of(const Weight& w) const { return inputs_.at(w.data); }

  // The next products with the one are products with the other: an expert may be fetched into
  // memory where another one was before.
  void Means(const ExpertWeights& met, const ExpertWeights& known) {
    met_ = {met.w1.data, met.w2.data, met.w3.data};
    known_ = {known.w1.data, known.w2.data, known.w3.data};
  }

  void MatMul(Mat<const float> x, const Weight& w, ActivationType activation,
              Mat<float> out) override {
    if (const auto found = inputs_.find(Known(w.data)); found != inputs_.end())
      Add(x, found->second);
    ForwardingDevice::MatMul(x, w, activation, out);
  }

 private:
  const std::byte* Known(const std::byte* data) const {
    const auto at = std::find(met_.begin(), met_.end(), data);
    return at == met_.end() ? data : known_[static_cast<size_t>(at - met_.begin())];
  }

  // Each column has one owner and takes its rows in order: the same sums on any number of threads.
  void Add(Mat<const float> x, Inputs& inputs) {
    inputs.rows += x.rows;
    const int64_t blocks = (x.cols + kColumnsAtOnce - 1) / kColumnsAtOnce;
    threads().ParallelFor(blocks, [&](int64_t b, int) {
      const int64_t end = std::min((b + 1) * kColumnsAtOnce, x.cols);
      for (int64_t t = 0; t < x.rows; ++t) {
        const float* row = x.row(t);
        for (int64_t i = b * kColumnsAtOnce; i < end; ++i)
          inputs.sums[static_cast<size_t>(i)] += static_cast<double>(row[i]) * row[i];
      }
    });
  }

  std::unordered_map<const std::byte*, Inputs> inputs_;  // by Weight::data
  std::array<const std::byte*, 3> met_{}, known_{};
};

// Tells the device which expert it is about to meet.
class AnnouncedExperts : public ExpertSource {
 public:
  AnnouncedExperts(ExpertSource& experts, const ModelWeights& weights, ListeningDevice& device)
      : experts_(experts), weights_(weights), device_(device) {}

  void Settle(int64_t layer, const RouterConfig& config, Routing& routing) override {
    experts_.Settle(layer, config, routing);
  }
  void Plan(int64_t layer, std::span<int32_t> needed) override { experts_.Plan(layer, needed); }
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override {
    const ExpertWeights& w = experts_.Acquire(layer, expert);
    device_.Means(w,
                  weights_.layers[static_cast<size_t>(layer)].experts[static_cast<size_t>(expert)]);
    return w;
  }
  void Release(int64_t layer, int64_t expert) override { experts_.Release(layer, expert); }
  bool wants_guesses() const override { return experts_.wants_guesses(); }
  void Guess(int64_t layer, std::span<const int32_t> experts) override {
    experts_.Guess(layer, experts);
  }

 private:
  ExpertSource& experts_;
  const ModelWeights& weights_;
  ListeningDevice& device_;
};

ImportanceMatrix ToMatrix(const ListeningDevice& device, std::span<const NamedMatrix> matrices) {
  ImportanceMatrix matrix;
  for (const auto& named : matrices) {
    const Inputs& inputs = device.Of(*named.weight);
    ImportanceEntry& entry = matrix.entries[named.name];
    entry.sums.insert(entry.sums.end(), inputs.sums.begin(), inputs.sums.end());
    entry.counts.push_back(static_cast<float>(inputs.rows));
  }
  return matrix;
}

std::vector<std::vector<int64_t>> Routed(const ListeningDevice& device, const Model& model) {
  std::vector<std::vector<int64_t>> routed;
  if (model.config.router.dense()) return routed;
  for (const auto& layer : model.weights.layers) {
    auto& counts = routed.emplace_back();
    for (const auto& expert : layer.experts) counts.push_back(device.Of(expert.w1).rows);
  }
  return routed;
}

}  // namespace

int64_t CollectedImportance::NumNeverHit() const {
  int64_t never = 0;
  for (const auto& layer : routed) never += std::count(layer.begin(), layer.end(), 0);
  return never;
}

CollectedImportance CollectImportance(const Model& model, ExpertSource& experts, Device& device,
                                      std::span<const int32_t> ids, const CollectOptions& options) {
  const auto matrices = MatricesOf(model);
  ListeningDevice listening(device, matrices);
  AnnouncedExperts announced(experts, model.weights, listening);
  Sequence sequence(model, announced, listening, options.sequence);
  const int64_t context = std::min(options.context, std::ssize(ids));
  if (context < 1) throw Error("there is no text to collect importance from");
  const int64_t num_windows = std::ssize(ids) / context;
  const int64_t rows = std::min(context, Sequence::kChunk);
  Buffer<float> logits(rows * model.config.vocab_size);
  CollectedImportance collected;
  std::vector<int32_t> window;
  for (int64_t w = 0; w < num_windows; ++w) {
    const auto begin = ids.begin() + w * context;
    window.assign(begin, begin + context);
    if (options.bos_id >= 0) window[0] = options.bos_id;
    sequence.KeepPrefixOf({});  // forgets all
    for (int64_t at = 0; at < context; at += rows) {
      const auto chunk = std::span(window).subspan(
          static_cast<size_t>(at), static_cast<size_t>(std::min(rows, context - at)));
      // All logits are asked for, so that no layer's work is cut to the last row.
      sequence.Append(chunk, logits.AsMat(std::ssize(chunk), model.config.vocab_size));
    }
    collected.tokens += context;
    ++collected.matrix.num_chunks;
    if (options.on_progress) options.on_progress(w + 1, num_windows);
    if (options.cancelled != nullptr && *options.cancelled) break;
  }
  const uint32_t num_chunks = collected.matrix.num_chunks;
  collected.matrix = ToMatrix(listening, matrices);
  collected.matrix.num_chunks = num_chunks;
  collected.matrix.chunk_tokens = static_cast<uint32_t>(context);
  collected.routed = Routed(listening, model);
  return collected;
}

}  // namespace cadre
