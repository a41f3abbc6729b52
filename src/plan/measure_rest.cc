#include "plan/measure_rest.h"

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/median.h"
#include "base/random.h"
#include "engine/sequence.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "ops/forwarding_device.h"
#include "tensor/buffer.h"

namespace cadre {
namespace {

// Products are numbers that say nothing; those of the router differ from row to row, so that rows
// go to all experts.
class WithoutProducts : public ForwardingDevice {
 public:
  WithoutProducts(Device& device, const Weight& router)
      : ForwardingDevice(device), router_(&router) {}

  // Gives what is never computed values once, so that what follows meets no strange numbers.
  void FillsOutputs(bool fills) { fills_ = fills; }

  void Embed(const Weight&, std::span<const int32_t>, Mat<float> out) override {
    if (fills_) Fill(out);
  }
  void MatMul(Mat<const float>, const Weight& w, ActivationType, Mat<float> out) override {
    if (fills_ || w.data == router_->data) Fill(out);
  }

 private:
  void Fill(Mat<float> out) {
    for (int64_t t = 0; t < out.rows; ++t)
      for (float& value : out.row_span(t)) value = static_cast<float>(random_.NextDouble()) - .5f;
  }

  const Weight* router_;
  Random random_{1};
  bool fills_ = true;
};

// Sequences in a model of one layer.
class OneLayer {
 public:
  OneLayer(const Model& model, const RunShape& run, const MeasureOptions& options, Device& device)
      : model_(model),
        options_(options),
        device_(device, model.weights.layers[0].router),
        experts_(model_.weights),
        pool_(OneLayerOf(model_).config.kv_shape(options.kv_type)),
        activations_(model_.config, Activations::Keep::kOneLayer),
        logits_(model_.config.vocab_size) {
    for (int64_t i = 0; i < run.batch; ++i) caches_.emplace_back(pool_);
  }

  // Appends the seconds of some steps of `rows` tokens of each of the first `sequences`, behind
  // `depth` others. narrow: FFN for the last row only.
  void Time(int64_t sequences, int64_t rows, int64_t depth, bool narrow,
            std::vector<double>& times) {
    if (fills_) Step(sequences, rows, depth, false);
    fills_ = false;
    device_.FillsOutputs(false);
    const Stopwatch all;
    do {
      const Stopwatch watch;
      Step(sequences, rows, depth, narrow);
      times.push_back(watch.Seconds());
    } while (all.Seconds() < options_.seconds / options_.rounds);
  }

 private:
  // The model itself becomes one of its first layer.
  static const Model& OneLayerOf(Model& model) {
    model.config.num_layers = 1;
    model.weights.layers.resize(1);
    return model;
  }

  void Step(int64_t sequences, int64_t rows, int64_t depth, bool narrow) {
    const int64_t count = sequences * rows;
    ids_.assign(static_cast<size_t>(count), 0);
    positions_.clear();
    sequence_of_row_.clear();
    std::vector<KvSequence> views;
    for (int64_t s = 0; s < sequences; ++s) {
      KvCache& cache = caches_[static_cast<size_t>(s)];
      cache.Reserve(depth + rows);
      views.push_back(cache.view());
      for (int64_t r = 0; r < rows; ++r) {
        positions_.push_back(depth + r);
        sequence_of_row_.push_back(static_cast<int32_t>(s));
      }
    }
    const int64_t last_row = count - 1;
    const Batch batch{
        .ids = ids_,
        .positions = positions_,
        .sequence_of_row = sequence_of_row_,
        .sequences = views,
        .kv_type = options_.kv_type,
        .wanted_rows = narrow ? std::span<const int64_t>(&last_row, 1) : std::span<const int64_t>(),
        .router_limits = {}};
    // Somebody who watches: else the only layer, as the last, would leave its FFN out.
    const RoutingObserver nobody = [](int64_t, const Routing&) {};
    const ForwardOptions forward{
        .activation = options_.activation, .observer = narrow ? nullptr : &nobody, .dropout = {}};
    Forward(model_, experts_, device_, batch, forward, activations_,
            {logits_.data(), narrow ? 1 : 0, model_.config.vocab_size});
  }

  Model model_;
  const MeasureOptions& options_;
  WithoutProducts device_;
  ResidentExperts experts_;
  KvPagePool pool_;
  std::vector<KvCache> caches_;
  Activations activations_;
  Buffer<float> logits_;
  bool fills_ = true;
  std::vector<int32_t> ids_, sequence_of_row_;
  std::vector<int64_t> positions_;
};

}  // namespace

LayerRest MeasureRest(const Model& model, const RunShape& run, const MeasureOptions& options,
                      Device& device) {
  OneLayer layer(model, run, options, device);
  const int64_t chunk = std::min(run.prompt, Sequence::kChunk);
  // In the middle of what is generated. Batches stand behind `depth` tokens, one sequence behind
  // the prompt as well.
  const int64_t before = run.depth + (run.batch == 1 ? run.prompt : 0);
  std::vector<double> first, last, narrow, step;
  for (int round = 0; round < options.rounds; ++round) {
    layer.Time(1, chunk, run.depth, false, first);
    layer.Time(1, chunk, run.depth + run.prompt - chunk, false, last);
    layer.Time(1, chunk, run.depth + run.prompt - chunk, true, narrow);
    layer.Time(run.batch, 1, before + run.generate / 2, false, step);
  }
  return {.first_chunk = Median(first),
          .last_chunk = Median(last),
          .step = Median(step),
          .narrow_share = std::min(1.0, Median(narrow) / Median(last))};
}

}  // namespace cadre
