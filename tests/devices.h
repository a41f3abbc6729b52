// Every device that this machine can run, by name, for tests that all of them must pass.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cpu/cpu_backward.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"

namespace cadre {

inline std::vector<std::string> DeviceNames() {
  std::vector<std::string> names = {"reference"};
  for (const Isa isa : kAllIsas) {
    if (HasIsa(isa)) names.emplace_back(IsaName(isa));
  }
  return names;
}

inline std::unique_ptr<Device> MakeDevice(const std::string& name, ThreadPool& threads) {
  if (name == "reference") return MakeReferenceDevice();
  return MakeCpuDevice(ParseIsa(name), threads);
}

inline std::unique_ptr<BackwardOps> MakeBackward(const std::string& name, ThreadPool& threads) {
  if (name == "reference") return MakeReferenceBackward();
  return MakeCpuBackward(ParseIsa(name), threads);
}

// A file of the repository, by its path from the root.
inline std::string SourcePath(const std::string& path) {
  const char* root = std::getenv("CADRE_SOURCE_DIR");
  if (root == nullptr)
    throw std::runtime_error("CADRE_SOURCE_DIR is not set: run the tests through ctest");
  return std::string(root) + "/" + path;
}

}  // namespace cadre
