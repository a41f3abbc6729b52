#include "quantize/budget.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/load.h"
#include "model/testing.h"
#include "quantize/collect.h"
#include "quantize/convert.h"
#include "quantize/sensitivity.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using model_testing::RandomArena;
using model_testing::TinyConfig;

using Options = std::vector<std::vector<TypeOption>>;

uint64_t BytesOf(const Options& tensors, const std::vector<size_t>& places) {
  uint64_t bytes = 0;
  for (size_t t = 0; t < tensors.size(); ++t) bytes += tensors[t][places[t]].bytes;
  return bytes;
}

double CostOf(const Options& tensors, const std::vector<size_t>& places) {
  double cost = 0;
  for (size_t t = 0; t < tensors.size(); ++t) cost += tensors[t][places[t]].cost;
  return cost;
}

// The least cost there is, by trying all.
double LeastCost(const Options& tensors, uint64_t bytes, size_t from = 0) {
  if (from == tensors.size()) return 0;
  double least = 1e300;
  for (const auto& option : tensors[from]) {
    if (option.bytes > bytes) continue;
    least = std::min(least, option.cost + LeastCost(tensors, bytes - option.bytes, from + 1));
  }
  return least;
}

TEST(ChooseOptions, SpendsWhereAByteTakesMostOff) {
  const Options tensors = {{{DType::kQ2_K, 10, 1.0}, {DType::kQ4_K, 20, 0.1}},
                           {{DType::kQ2_K, 10, 5.0}, {DType::kQ4_K, 20, 0.5}}};
  EXPECT_EQ(ChooseOptions(tensors, 20), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(ChooseOptions(tensors, 39), (std::vector<size_t>{0, 1}));
  EXPECT_EQ(ChooseOptions(tensors, 40), (std::vector<size_t>{1, 1}));
}

TEST(ChooseOptions, PassesOverWhatCostsMoreForMoreOrLiesAboveTheHull) {
  const Options tensors = {{{DType::kQ5_0, 22, 2.0},  // dearer than the next and no better
                            {DType::kQ4_K, 18, 1.0},
                            {DType::kQ3_K, 14, 7.9},  // above the line between its neighbours
                            {DType::kQ2_K, 10, 8.0}}};
  EXPECT_EQ(ChooseOptions(tensors, 17), std::vector<size_t>{3});
  EXPECT_EQ(ChooseOptions(tensors, 100), std::vector<size_t>{1});
}

TEST(ChooseOptions, SaysWhenNothingFits) {
  EXPECT_NE(ErrorOf([] {
              ChooseOptions({{{DType::kQ2_K, 10, 1}}}, 9);
            }).find("10 bytes"),
            std::string::npos);
}

// Any tables, any budget: within it, and not far above what trying everything finds. (A greedy walk
// along hulls leaves less than the largest single step's cost on the table.)
TEST(ChooseOptions, IsNearTheBestThereIs) {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    Options tensors(6);
    double largest_step = 0;
    for (auto& options : tensors) {
      double cost = 1 + static_cast<double>(random.NextBelow(100));
      uint64_t bytes = 10;
      for (int i = 0; i < 4; ++i) {
        options.push_back({DType::kQ2_K, bytes, cost});
        bytes += 1 + random.NextBelow(20);
        const double next = cost * 0.5;
        largest_step = std::max(largest_step, cost - next);
        cost = next;
      }
    }
    const uint64_t bytes = 60 + random.NextBelow(200);
    const auto places = ChooseOptions(tensors, bytes);
    EXPECT_LE(BytesOf(tensors, places), bytes);
    EXPECT_LE(CostOf(tensors, places), LeastCost(tensors, bytes) + largest_step);
  }
}

// A model whose widths take the K types, mapped from a file, and a text for it.
struct Budgeted {
  Budgeted()
      : config([] {
          ModelConfig c = TinyConfig();
          c.dim = c.hidden_dim = 256;
          c.head_dim = 32;
          c.num_layers = 1;
          return c;
        }()),
        loaded([&] {
          const auto arena = RandomArena(ParameterLayout(config));
          model_testing::SaveArenaAsGguf(config, arena, DType::kF32, folder / "m.gguf");
          return LoadedModel::Load(folder / "m.gguf");
        }()),
        model(loaded.model()),
        device(MakeReferenceDevice()) {
    for (int i = 0; i < 24; ++i) ids.push_back(1 + (i * i * 7 + i) % 39);
    ResidentExperts experts(model.weights);
    matrix =
        CollectImportance(model, experts, *device, ids, {.context = 24, .sequence = kExactPath})
            .matrix;
  }
  const TempFolder folder;
  const ModelConfig config;
  const LoadedModel loaded;
  const Model& model;
  std::unique_ptr<Device> device;
  std::vector<int32_t> ids;
  ImportanceMatrix matrix;
};

TEST(MeasureSensitivity, HasAFigureForEveryTensor) {
  Budgeted of;
  const auto sensitivity = MeasureSensitivity(of.model, of.matrix, *of.device, of.ids, {});
  EXPECT_EQ(sensitivity.size(), 7 + 2u);
  for (const auto& [name, value] : sensitivity) EXPECT_GT(value, 0) << name;
  EXPECT_EQ(sensitivity.count("blk.0.ffn_gate_inp.weight"), 0u);
  EXPECT_EQ(sensitivity, MeasureSensitivity(of.model, of.matrix, *of.device, of.ids, {}));
}

// Of the head an error is worth what theory says: half the variance of the logits' errors under
// the model's own distribution. That is at most half of their squares' mean.
TEST(MeasureSensitivity, OfTheHeadIsBelowTheSquaredErrorOfALogit) {
  Budgeted of;
  const auto sensitivity = MeasureSensitivity(of.model, of.matrix, *of.device, of.ids, {});
  EXPECT_LT(sensitivity.at("output.weight"), 0.5);
  EXPECT_GT(sensitivity.at("output.weight"), 1e-4);
}

TEST(PlanForBudget, KeepsWithinItAndSpendsItOnWhatIsUsed) {
  Budgeted of;
  // Nobody is sent to expert 1 of layer 0, nearly everybody to expert 2.
  for (const char* name : {"gate", "up", "down"}) {
    auto& entry = of.matrix.entries.at(fmt::format("blk.0.ffn_{}_exps.weight", name));
    std::fill_n(entry.sums.begin() + 256, 256, 0.0f);
    std::fill_n(entry.sums.begin() + 512, 256, 1000.0f);
    entry.counts = {2, 0, 20, 2};
  }
  const Importance importance(of.model, of.matrix, "f");
  auto plan = PlanTensors(of.model, {TensorLayout::kGguf, ExpertLayout::kSeparate});
  for (auto& tensor : plan) tensor.type = UniformType(tensor, DType::kQ4_K, TensorLayout::kGguf);
  ThreadPool three(3), one(1);
  const auto expected = PlanForBudget(plan, importance, 580000, three, {});
  double last = 1e300;
  for (const uint64_t bytes : {uint64_t{380000}, uint64_t{580000}}) {
    const auto chosen = PlanForBudget(plan, importance, bytes, one, {});
    uint64_t used = 0;
    for (const auto& tensor : plan) {
      const DType type = chosen.types.at(tensor.name);
      used += static_cast<uint64_t>(tensor.parts[0].rows * RowBytes(type, tensor.cols()));
      EXPECT_EQ(type == DType::kF32, tensor.type == DType::kF32) << tensor.name;
    }
    EXPECT_LE(used, bytes);
    EXPECT_GT(static_cast<double>(used), 0.9 * static_cast<double>(bytes));
    EXPECT_LT(chosen.expected_kl, last);
    last = chosen.expected_kl;
    const auto bits = [&](const char* name) {
      const auto& info = Info(chosen.types.at(name));
      return static_cast<double>(info.block_bytes) / info.block_elems;
    };
    EXPECT_LE(bits("blk.0.ffn_gate.1.weight"), bits("blk.0.ffn_gate.0.weight"));
    EXPECT_GT(bits("blk.0.ffn_gate.2.weight"), bits("blk.0.ffn_gate.1.weight"));
  }
  EXPECT_EQ(last, expected.expected_kl);  // the same bits on any number of threads
}

struct Stopped {};

std::string Bytes(const std::string& path) { return std::string(MappedFile(path).text()); }

// A stopped conversion is gone on with to the same bytes, but not when importance is another's now.
TEST(Convert, GoesOnWithTheSameImportanceOnly) {
  Budgeted of;
  const TempFolder& folder = of.folder;
  WriteImportanceMatrix(of.matrix, folder / "m.imatrix");
  ThreadPool threads(2);
  int calls = 0;
  const auto stop = [&](uint64_t, uint64_t) {
    if (++calls == 12) throw Stopped();
  };
  ConvertOptions options = {.imatrix = folder / "m.imatrix", .budget_bytes = 500000, .layout = {}};
  Convert(folder / "m.gguf", folder / "whole.gguf", options, threads);
  options.on_progress = stop;
  EXPECT_THROW(Convert(folder / "m.gguf", folder / "b.gguf", options, threads), Stopped);
  Convert(folder / "m.gguf", folder / "b.gguf", options, threads);
  EXPECT_EQ(Bytes(folder / "b.gguf"), Bytes(folder / "whole.gguf"));

  options.budget_bytes = 0;
  options.type = DType::kQ4_0;
  calls = 0;
  EXPECT_THROW(Convert(folder / "m.gguf", folder / "c.gguf", options, threads), Stopped);
  for (auto& [name, entry] : of.matrix.entries)
    for (size_t i = 0; i < entry.sums.size(); i += 3) entry.sums[i] *= 100;
  WriteImportanceMatrix(of.matrix, folder / "m.imatrix");
  Convert(folder / "m.gguf", folder / "c.gguf", options, threads);
  Convert(folder / "m.gguf", folder / "fresh.gguf", options, threads);
  EXPECT_EQ(Bytes(folder / "c.gguf"), Bytes(folder / "fresh.gguf"));
}

TEST(Convert, MakesAFileWithinTheBudget) {
  Budgeted of;
  const TempFolder& folder = of.folder;
  WriteImportanceMatrix(of.matrix, folder / "m.imatrix");
  ThreadPool threads(2);
  const uint64_t bytes = 500000;
  for (const auto experts : {ExpertLayout::kSeparate, ExpertLayout::kMerged}) {
    const auto converted = Convert(folder / "m.gguf", folder / "b.gguf",
                                   {.imatrix = folder / "m.imatrix",
                                    .budget_bytes = bytes,
                                    .layout = {TensorLayout::kGguf, experts}},
                                   threads);
    const auto size = std::filesystem::file_size(folder / "b.gguf");
    EXPECT_LE(size, bytes);
    EXPECT_GT(static_cast<double>(size), 0.9 * static_cast<double>(bytes));
    EXPECT_GT(converted.expected_kl, 0);
    EXPECT_GT(converted.summary.tensors.size(), 2u);
    LoadedModel::Load(folder / "b.gguf");
  }
  EXPECT_NE(ErrorOf([&] {
              Convert(folder / "m.gguf", folder / "c.gguf",
                      {.imatrix = folder / "m.imatrix", .budget_bytes = 20000, .layout = {}},
                      threads);
            }).find("a budget of 20000 bytes is too small"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "c.gguf"));
}

}  // namespace
}  // namespace cadre
