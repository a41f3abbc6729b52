// One tiny model in every layout Cadre reads, and through every conversion between them: the same
// bits in the logits, on every device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/testing.h"
#include "model/load.h"
#include "model/testing.h"
#include "quantize/convert.h"
#include "tests/devices.h"
#include "tests/step.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
using base_testing::ErrorOf;
using base_testing::TempFolder;
using model_testing::GoldenPath;
using ::testing::HasSubstr;

const std::vector<int32_t> kIds = {1, 17, 33, 5, 5, 29, 2, 11, 8, 60, 71};

struct Layout {
  std::string name;
  FileLayout layout;
  uint64_t shard_bytes = 0;
};

const Layout kLayouts[] = {
    {"HuggingFace", {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}},
    {"HuggingFaceSharded", {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}, 30000},
    {"HuggingFaceFused", {TensorLayout::kHuggingFace, ExpertLayout::kFused}},
    {"Mistral", {TensorLayout::kMistral, ExpertLayout::kSeparate}},
    {"MistralSharded", {TensorLayout::kMistral, ExpertLayout::kSeparate}, 30000},
    {"GgufMerged", {TensorLayout::kGguf, ExpertLayout::kMerged}},
    {"GgufSplit", {TensorLayout::kGguf, ExpertLayout::kMerged}, 30000},
    {"GgufSeparate", {TensorLayout::kGguf, ExpertLayout::kSeparate}},
    {"GgufFused", {TensorLayout::kGguf, ExpertLayout::kFused}},
};

std::string Place(const TempFolder& folder, const Layout& layout) {
  return folder /
         (layout.layout.names == TensorLayout::kGguf ? layout.name + ".gguf" : layout.name);
}

// The path that opens what Converted wrote to Place.
std::string Converted(const std::string& source, const TempFolder& folder, const Layout& layout,
                      std::optional<DType> type = {}) {
  ThreadPool threads(2);
  const std::string place = Place(folder, layout);
  const auto result =
      Convert(source, place,
              {.type = type, .layout = layout.layout, .shard_bytes = layout.shard_bytes}, threads);
  EXPECT_EQ(result.summary.files.size() > 1, layout.shard_bytes > 0) << layout.name;
  return layout.layout.names == TensorLayout::kGguf ? result.summary.files[0] : place;
}

std::vector<float> LogitsOf(const std::string& path, const std::string& device_name,
                            ActivationType activation = ActivationType::kF32) {
  ThreadPool threads(2);
  const auto loaded = LoadedModel::Load(path);
  EXPECT_TRUE(loaded.warnings().empty()) << path << ": " << loaded.warnings()[0];
  const auto device = MakeDevice(device_name, threads);
  StepRunner runner(loaded.model(), *device, KvType::kF32, activation, {kIds});
  runner.RunAll(0);
  return runner.logits(0);
}

class Layouts : public ::testing::TestWithParam<Layout> {
 protected:
  const TempFolder folder_;
};

TEST_P(Layouts, GiveTheSameBitsOnEveryDevice) {
  for (const char* golden : {"mixtral", "mixtral_head_dim", "mixtral_4_of_16"}) {
    const std::string source = GoldenPath(golden);
    const std::string path = Converted(source, folder_, GetParam());
    for (const auto& device : DeviceNames())
      EXPECT_TRUE(LogitsOf(path, device) == LogitsOf(source, device)) << golden << " " << device;
    fs::remove_all(Place(folder_, GetParam()));
  }
}

TEST_P(Layouts, LeadToEveryOtherWithoutALoss) {
  const std::string source = GoldenPath("mixtral");
  const auto expected = LogitsOf(source, "reference");
  const std::string path = Converted(source, folder_, GetParam());
  for (const auto& next : kLayouts) {
    const TempFolder folder;
    EXPECT_TRUE(LogitsOf(Converted(path, folder, next), "reference") == expected)
        << GetParam().name << " to " << next.name;
  }
}

TEST_P(Layouts, HoldBrainFloatsAsTheyAre) {
  const std::string source = GoldenPath("mixtral_bf16");
  const std::string path = Converted(source, folder_, GetParam());
  EXPECT_TRUE(LogitsOf(path, "reference") == LogitsOf(source, "reference"));
  int64_t tensors = 0;
  const auto loaded = LoadedModel::Load(path);
  for (const auto& tensor : loaded.checkpoint().Tensors()) {
    if (tensor.shape.size() == 1 || tensor.name.find("gate.weight") != std::string::npos) continue;
    if (tensor.name.find("ffn_gate_inp") != std::string::npos) continue;
    EXPECT_EQ(tensor.type_name, "BF16") << tensor.name;
    ++tensors;
  }
  EXPECT_GT(tensors, 5);
}

INSTANTIATE_TEST_SUITE_P(All, Layouts, ::testing::ValuesIn(kLayouts),
                         [](const auto& test) { return test.param.name; });

// Quantised blocks move between the GGUF layouts as bytes.
TEST(Convert, MovesBlocksUnchangedBetweenGgufLayouts) {
  const TempFolder folder;
  const Layout merged = kLayouts[5];
  const std::string first = Converted(GoldenPath("mixtral"), folder, merged, DType::kQ8_0);
  const auto expected = LogitsOf(first, "reference", ActivationType::kRounded);
  for (const size_t i : {size_t{6}, size_t{7}, size_t{8}}) {
    const std::string other = Converted(first, folder, kLayouts[i]);
    EXPECT_TRUE(LogitsOf(other, "reference", ActivationType::kRounded) == expected);
    const TempFolder back;
    EXPECT_EQ(MappedFile(Converted(other, back, merged)).text(), MappedFile(first).text())
        << kLayouts[i].name;
  }
}

// llama.cpp wrote version 2 until August 2023's format 3; the two differ in the number only.
TEST(Convert, ReadsGgufVersion2) {
  const TempFolder folder;
  const std::string path = Converted(GoldenPath("mixtral"), folder, kLayouts[7]);
  std::string bytes(MappedFile(path).text());
  bytes[4] = 2;
  WriteFileAtomically(folder / "v2.gguf", bytes);
  EXPECT_TRUE(LogitsOf(folder / "v2.gguf", "reference") == LogitsOf(path, "reference"));
}

TEST(Convert, SaysWhatALayoutCannotHold) {
  const TempFolder folder;
  ThreadPool threads(1);
  const auto error = [&](const std::string& source, FileLayout layout, std::optional<DType> type) {
    return ErrorOf(
        [&] { Convert(source, folder / "out", {.type = type, .layout = layout}, threads); });
  };
  const std::string golden = GoldenPath("mixtral");
  EXPECT_THAT(error(golden, {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}, DType::kQ8_0),
              HasSubstr("hold F32, F16 and BF16, not Q8_0"));
  EXPECT_THAT(error(golden, {TensorLayout::kMistral, ExpertLayout::kFused}, {}),
              HasSubstr("knows no fused experts"));
  EXPECT_THAT(error(golden, {TensorLayout::kHuggingFace, ExpertLayout::kMerged}, {}),
              HasSubstr("merged experts are a layout of GGUF"));
  const std::string quantised = Converted(golden, folder, kLayouts[5], DType::kQ8_0);
  EXPECT_THAT(error(quantised, {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}, {}),
              HasSubstr("choose a --type"));
}

TEST(Convert, NeverWritesOverWhatItReads) {
  const TempFolder folder;
  ThreadPool threads(1);
  const std::string gguf = Converted(GoldenPath("mixtral"), folder, kLayouts[5]);
  EXPECT_THAT(ErrorOf([&] { Convert(gguf, gguf, {.type = {}, .layout = {}}, threads); }),
              HasSubstr("is what is being converted"));
  const std::string hf = Converted(gguf, folder, kLayouts[0]);
  EXPECT_THAT(
      ErrorOf([&] { Convert(hf, hf, {.type = {}, .layout = kLayouts[2].layout}, threads); }),
      HasSubstr("is what is being converted"));
}

class Stopped : public std::exception {};

void ConvertWith(const std::function<void(uint64_t, uint64_t)>& on_progress,
                 const std::string& source, const std::string& place, const Layout& layout) {
  ThreadPool threads(2);
  Convert(source, place,
          {.type = {},
           .layout = layout.layout,
           .shard_bytes = layout.shard_bytes,
           .on_progress = on_progress},
          threads);
}

// Stopped after every single tensor and called again, each time: the file is the same, and no
// tensor is written twice.
TEST(Convert, GoesOnWhereItWasStopped) {
  for (const auto& layout : {kLayouts[1], kLayouts[3], kLayouts[5], kLayouts[6]}) {
    const TempFolder whole, stopped;
    const std::string source = GoldenPath("mixtral");
    const std::string expected = Converted(source, whole, layout);
    uint64_t reached = 0;
    int calls = 0;
    for (bool done = false; !done; ++calls) {
      ASSERT_LT(calls, 500);
      try {
        ConvertWith(
            [&](uint64_t bytes, uint64_t) {
              if (bytes <= reached) return;
              reached = bytes;
              throw Stopped();
            },
            source, Place(stopped, layout), layout);
        done = true;
      } catch (const Stopped&) {
      }
    }
    EXPECT_GT(calls, 10);
    const fs::path folder = fs::path(expected).parent_path();
    for (fs::recursive_directory_iterator entry(whole.path()), end; entry != end; ++entry) {
      if (!entry->is_regular_file()) continue;
      const auto name = fs::relative(entry->path(), whole.path());
      EXPECT_EQ(MappedFile(stopped / name.string()).text(), MappedFile(entry->path()).text())
          << name;
    }
    for (fs::recursive_directory_iterator entry(stopped.path()), end; entry != end; ++entry)
      EXPECT_TRUE(fs::exists(whole / fs::relative(entry->path(), stopped.path()).string()))
          << entry->path();
  }
}

// A retrained model of the same shape, converted to where the old one's conversion lies finished.
TEST(Convert, TakesNothingOfAnEarlierSource) {
  for (const auto& layout : {kLayouts[1], kLayouts[6]}) {
    const TempFolder sources, folder;
    const std::string source = sources / "model";
    fs::copy(GoldenPath("mixtral"), source);
    Converted(source, folder, layout);
    // Other weights of the same shapes.
    const std::string weights = source + "/model.safetensors";
    std::string bytes(MappedFile(weights).text());
    for (size_t i = bytes.size() - 4000; i < bytes.size(); i += 4) bytes[i] ^= 0x10;
    WriteFileAtomically(weights, bytes);
    int tensors = 0;
    const auto stop = [&](uint64_t, uint64_t) {
      if (++tensors == 3) throw Stopped();
    };
    EXPECT_THROW(ConvertWith(stop, source, Place(folder, layout), layout), Stopped);
    const std::string path = Converted(source, folder, layout);
    EXPECT_TRUE(LogitsOf(path, "reference") == LogitsOf(source, "reference"));
  }
}

// Until all parts are written, what was there is what is there.
TEST(Convert, PartsAppearTogether) {
  const TempFolder folder;
  const Layout& layout = kLayouts[1];
  const std::string path = Converted(GoldenPath("mixtral"), folder, layout);
  const auto old = LogitsOf(path, "reference");
  uint64_t half = 0;
  const auto stop = [&](uint64_t done, uint64_t total) {
    half = done;
    if (2 * done > total) throw Stopped();
  };
  EXPECT_THROW(ConvertWith(stop, GoldenPath("mixtral_top1"), path, layout), Stopped);
  EXPECT_GT(half, 2 * layout.shard_bytes);
  EXPECT_TRUE(LogitsOf(path, "reference") == old);
}

// One file in place of many, and many in place of one.
TEST(Convert, TheNewFilesAreWhatIsRead) {
  const TempFolder folder;
  Layout sharded = kLayouts[1], single = kLayouts[0];
  sharded.name = single.name = "model";
  for (const auto& [golden, layout] :
       {std::pair("mixtral", sharded), std::pair("mixtral_top1", single),
        std::pair("mixtral_bf16", sharded)}) {
    EXPECT_TRUE(LogitsOf(Converted(GoldenPath(golden), folder, layout), "reference") ==
                LogitsOf(GoldenPath(golden), "reference"))
        << golden;
  }
}

TEST(Convert, RefusesAPlaceOfTheWrongKind) {
  const TempFolder folder;
  ThreadPool threads(1);
  const std::string golden = GoldenPath("mixtral");
  EXPECT_THAT(ErrorOf([&] { Convert(golden, folder.path(), {.type = {}, .layout = {}}, threads); }),
              HasSubstr("is a folder, but a GGUF model is a file"));
  WriteFileAtomically(folder / "file", "x");
  EXPECT_THAT(ErrorOf([&] {
                Convert(golden, folder / "file", {.type = {}, .layout = kLayouts[0].layout},
                        threads);
              }),
              HasSubstr("is a file, but this layout is a folder"));
  // The parts it would write are the parts it reads.
  const std::string first = Converted(golden, folder, kLayouts[6]);
  EXPECT_THAT(ErrorOf([&] {
                Convert(first, folder / "GgufSplit.gguf",
                        {.type = DType::kF32, .layout = {}, .shard_bytes = 30000}, threads);
              }),
              HasSubstr("is what is being converted"));
}

// What was stopped belongs to its source and options: with others it starts anew.
TEST(Convert, DoesNotGoOnWithAnotherConversion) {
  const TempFolder folder, other;
  ThreadPool threads(1);
  const std::string path = folder / "model.gguf";
  const auto stop = [](uint64_t, uint64_t) { throw Stopped(); };
  EXPECT_THROW(Convert(GoldenPath("mixtral"), path, {.type = {}, .layout = {}, .on_progress = stop},
                       threads),
               Stopped);
  Convert(GoldenPath("mixtral_top1"), path, {.type = {}, .layout = {}}, threads);
  EXPECT_TRUE(LogitsOf(path, "reference") == LogitsOf(GoldenPath("mixtral_top1"), "reference"));
}

}  // namespace
}  // namespace cadre
