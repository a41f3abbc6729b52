// Products with one matrix after another, from memory that no cache holds where the model is larger
// than that.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/huge_memory.h"
#include "base/median.h"
#include "base/random.h"
#include "engine/sequence.h"
#include "plan/measure.h"
#include "plan/measure_rest.h"
#include "tensor/buffer.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

constexpr int64_t kPoolBytes = int64_t{192} << 20;  // several times a last-level cache
constexpr int64_t kMostWeights = int64_t{1} << 24;  // of a matrix that is tried
constexpr double kTooLong = 0.3;                    // seconds of a product: no larger ones then
constexpr int64_t kReadAhead = 4096;                // kernels fetch a little ahead

class ProductMeter {
 public:
  ProductMeter(const MeasureOptions& options, int64_t pool_bytes, Device& device, Device& packer,
               Machine& machine)
      : options_(options),
        pool_(static_cast<size_t>(std::min(pool_bytes, kPoolBytes) + kReadAhead)),
        device_(device),
        packer_(packer),
        machine_(machine) {
    Random random(1);
    values_.resize(size_t{1} << 16);
    for (float& value : values_) value = static_cast<float>(0.02 * random.NextNormal());
  }

  void Measure(DType type, MatrixShape shape, const std::set<int64_t>& tokens) {
    const auto [rows, cols] = shape;
    const int64_t tried = std::min(rows, std::max<int64_t>(16, kMostWeights / cols / 16 * 16));
    Fill(type, tried, cols);
    const double share = static_cast<double>(rows) / static_cast<double>(tried);
    std::map<int64_t, std::vector<double>> times;
    for (int round = 0; round < options_.rounds; ++round) {
      for (const int64_t count : tokens) {
        Time(type, tried, cols, count, times[count]);
        if (times[count].back() > kTooLong) break;
      }
    }
    for (auto& [count, seconds] : times)
      machine_.products.Add({type, rows, cols, count, Median(seconds) * share});
  }

 private:
  // As many copies of a matrix as the pool holds, in the form that the run will have.
  void Fill(DType type, int64_t rows, int64_t cols) {
    const int64_t row_bytes = RowBytes(type, cols);
    if (stored_.size() < rows * row_bytes) stored_.Resize(rows * row_bytes);
    // Whole rows of the pattern, which repeat.
    std::vector<float> row(static_cast<size_t>(cols));
    const int64_t pattern = std::clamp<int64_t>(std::ssize(values_) / cols, 1, rows);
    for (int64_t r = 0; r < rows; ++r) {
      std::byte* to = stored_.data() + r * row_bytes;
      if (r >= pattern) {
        std::memcpy(to, stored_.data() + r % pattern * row_bytes, static_cast<size_t>(row_bytes));
        continue;
      }
      for (size_t i = 0; i < row.size(); ++i)
        row[i] = values_[(static_cast<size_t>(r * cols) + i) % values_.size()];
      EncodeRow(type, row, to);
    }
    weight_ = {.data = stored_.data(), .type = type, .rows = rows, .cols = cols};
    is_packed_ = IsKeptPacked(weight_, options_.form, device_);
    kept_bytes_ = (KeptBytes(weight_, options_.form, device_) + 63) / 64 * 64;
    const int64_t room = static_cast<int64_t>(pool_.size()) - kReadAhead;
    if (kept_bytes_ > room) {
      pool_ = HugeMemory(static_cast<size_t>(kept_bytes_ + kReadAhead));
    }
    copies_ = std::max<int64_t>(1, room / kept_bytes_);
    next_ = 0;
    Keep();
    for (int64_t i = 1; i < copies_; ++i)
      std::memcpy(pool_.data() + i * kept_bytes_, pool_.data(), static_cast<size_t>(kept_bytes_));
  }

  // The first copy. The second time counts: the first touches new memory.
  void Keep() {
    const auto bytes = static_cast<double>(weight_.bytes());
    if (!is_packed_) {
      std::memcpy(pool_.data(), weight_.data, static_cast<size_t>(weight_.bytes()));
      return;
    }
    packer_.Pack(weight_, pool_.data());
    const Stopwatch watch;
    packer_.Pack(weight_, pool_.data());
    machine_.pack_bytes_per_s[weight_.type] = bytes / watch.Seconds();
  }

  // Appends one time or several, of a round's part of the time; the first only where it is alone:
  // threads are still waking up.
  void Time(DType type, int64_t rows, int64_t cols, int64_t tokens, std::vector<double>& times) {
    if (x_.size() < tokens * cols) {
      x_.Resize(tokens * cols);
      for (int64_t i = 0; i < tokens * cols; ++i)
        x_[i] = values_[static_cast<size_t>(i) % values_.size()];
    }
    if (out_.size() < tokens * rows) out_.Resize(tokens * rows);
    const Mat<const float> x(x_.data(), tokens, cols);
    const Mat<float> out(out_.data(), tokens, rows);
    const auto activation = type == DType::kF32 ? ActivationType::kF32 : options_.activation;
    const auto before = std::ssize(times);
    const Stopwatch all;
    do {
      Weight w = weight_;
      (is_packed_ ? w.packed : w.data) = pool_.data() + next_ * kept_bytes_;
      next_ = (next_ + 1) % copies_;
      const Stopwatch watch;
      device_.MatMul(x, w, activation, out);
      times.push_back(watch.Seconds());
    } while (all.Seconds() < options_.seconds / options_.rounds);
    if (std::ssize(times) > before + 1) times.erase(times.begin() + before);
  }

  const MeasureOptions& options_;
  HugeMemory pool_;
  Device& device_;
  Device& packer_;
  Machine& machine_;
  std::vector<float> values_;
  Buffer<std::byte> stored_;
  Buffer<float> x_, out_;
  Weight weight_;
  bool is_packed_ = false;
  int64_t kept_bytes_ = 0, copies_ = 1, next_ = 0;
};

// Around the numbers of rows that the run's products have.
std::set<int64_t> TokensOf(const RunShape& run, int64_t most) {
  std::set<int64_t> tokens = {1, run.batch};
  for (const int64_t count : {4, 16, 64, 256}) {
    if (count < most) tokens.insert(count);
  }
  tokens.insert(most);
  return tokens;
}

}  // namespace

void MeasureModel(const Model& model, const std::map<DType, MatrixShape>& others,
                  const RunShape& run, const MeasureOptions& options, Device& device,
                  Device& packer, Machine& machine) {
  const RouterConfig& router = model.config.router;
  const int64_t chunk = std::min(run.prompt, Sequence::kChunk);
  // Experts differ in how many rows they get; between the measured numbers time is interpolated.
  const int64_t per_expert =
      std::max<int64_t>({run.batch, 2 * chunk * router.top_k / router.num_experts, int64_t{1}});
  std::map<std::pair<DType, MatrixShape>, std::set<int64_t>> wanted;
  int64_t bytes = 0;
  const auto add = [&](const Weight& w, const std::set<int64_t>& tokens) {
    wanted[{w.type, {w.rows, w.cols}}].insert(tokens.begin(), tokens.end());
    bytes += KeptBytes(w, options.form, device);
  };
  for (const auto& layer : model.weights.layers) {
    for (const Weight* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo})
      add(*w, TokensOf(run, std::max(chunk, run.batch)));
    if (layer.router.rows > 0) add(layer.router, {1, run.batch, chunk});
    for (const auto& expert : layer.experts)
      for (const Weight* w : {&expert.w1, &expert.w2, &expert.w3})
        add(*w, TokensOf(run, std::min(per_expert, std::max(chunk, run.batch))));
  }
  add(model.weights.head, {1, run.batch});
  ProductMeter meter(options, bytes, device, packer, machine);
  for (const auto& [what, tokens] : wanted) meter.Measure(what.first, what.second, tokens);
  // Of the others little: one token, and as many as an expert gets.
  for (const auto& [type, shape] : others) {
    if (!machine.products.Knows(type)) meter.Measure(type, shape, {1, run.batch, 16, per_expert});
  }
  machine.threads = device.threads().num_threads();
  machine.rest = MeasureRest(model, run, options, device);
}

}  // namespace cadre
