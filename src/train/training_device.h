// The device that training runs forward on: exact products, of weights of any stored type, are
// those of the backward pass, made for many rows.
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

 private:
  BackwardOps& ops_;
};

}  // namespace cadre
