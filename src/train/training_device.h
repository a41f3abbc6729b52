// The device that training runs forward on: exact products, of weights of any stored type, and
// attention are those of the backward pass, made for the many rows of whole sequences. There is no
// cache: keys and values are read where the step made them.
#pragma once

#include "ops/backward.h"
#include "ops/forwarding_device.h"

namespace cadre {

class TrainingDevice : public ForwardingDevice {
 public:
  // Both outlive this.
  TrainingDevice(Device& device, BackwardOps& ops) : ForwardingDevice(device), ops_(ops) {}

  void MatMul(Mat<const float> x, const Weight& w, ActivationType activation,
              Mat<float> out) override {
    const bool exact = activation == ActivationType::kF32 ||
                       (activation == ActivationType::kRounded && w.type == DType::kF32);
    if (!exact) return ForwardingDevice::MatMul(x, w, activation, out);
    ops_.MatMul(x, w, out);
  }

  // Remembers where they are for the Attention that follows.
  void StoreKv(Mat<const float> k, Mat<const float> v, const KvBatch& /*batch*/) override {
    k_ = k;
    v_ = v;
  }
  void Attention(Mat<const float> q, int64_t num_heads, int64_t window, const KvBatch& batch,
                 Mat<float> out, Mat<float> lse) override {
    ops_.Attention(q, k_, v_, num_heads, window, batch, out, lse);
  }

 private:
  BackwardOps& ops_;
  Mat<const float> k_, v_;
};

}  // namespace cadre
