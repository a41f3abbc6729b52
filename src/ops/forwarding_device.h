// A device that computes as another does: to be derived from by what changes or watches some of its
// operations.
#pragma once

#include "ops/device.h"

namespace cadre {

class ForwardingDevice : public Device {
 public:
  // `device` outlives this.
  explicit ForwardingDevice(Device& device) : device_(device) {}

  std::string name() const override { return device_.name(); }
  ThreadPool& threads() override { return device_.threads(); }
  bool multiplies_bf16() const override { return device_.multiplies_bf16(); }
  void Embed(const Weight& table, std::span<const int32_t> ids, Mat<float> out) override {
    device_.Embed(table, ids, out);
  }
  void RmsNorm(Mat<const float> x, std::span<const float> weight, float eps,
               Mat<float> out) override {
    device_.RmsNorm(x, weight, eps, out);
  }
  void MatMul(Mat<const float> x, const Weight& w, ActivationType activation,
              Mat<float> out) override {
    device_.MatMul(x, w, activation, out);
  }
  int64_t PackedBytes(const Weight& w) const override { return device_.PackedBytes(w); }
  void Pack(const Weight& w, std::byte* packed) override { device_.Pack(w, packed); }
  void Rope(Mat<float> x, int64_t head_dim, std::span<const int64_t> positions,
            std::span<const double> inv_freq, RopeLayout layout) override {
    device_.Rope(x, head_dim, positions, inv_freq, layout);
  }
  void StoreKv(Mat<const float> k, Mat<const float> v, const KvBatch& batch) override {
    device_.StoreKv(k, v, batch);
  }
  void Attention(Mat<const float> q, int64_t num_heads, int64_t window, const KvBatch& batch,
                 Mat<float> out, Mat<float> lse) override {
    device_.Attention(q, num_heads, window, batch, out, lse);
  }
  void Add(Mat<const float> x, Mat<const float> y, Mat<float> out) override {
    device_.Add(x, y, out);
  }
  void SwiGlu(Mat<const float> gate, Mat<const float> up, Mat<float> out) override {
    device_.SwiGlu(gate, up, out);
  }
  void GatherRows(Mat<const float> x, const DispatchView& plan, Mat<float> out) override {
    device_.GatherRows(x, plan, out);
  }
  void CombineRows(Mat<const float> rows, const DispatchView& plan, Mat<float> out) override {
    device_.CombineRows(rows, plan, out);
  }

 private:
  Device& device_;
};

}  // namespace cadre
