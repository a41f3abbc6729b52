// The device that training runs forward on: products with float32 weights are those of the backward
// pass, made for many rows.
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
    const bool aligned = reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0;
    if (w.type != DType::kF32 || activation != ActivationType::kF32 || w.low_rank != nullptr ||
        !aligned) {
      return ForwardingDevice::MatMul(x, w, activation, out);
    }
    ops_.MatMul(x, {reinterpret_cast<const float*>(w.data), w.rows, w.cols}, out);
  }

 private:
  BackwardOps& ops_;
};

}  // namespace cadre
