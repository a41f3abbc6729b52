#include "formats/imatrix.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "base/mapped_file.h"
#include "formats/gguf_test_bytes.h"
#include "formats/gguf_writer.h"

namespace cadre {
namespace {

ImportanceMatrix Parse(const std::string& bytes) {
  return ParseImportanceMatrix(std::as_bytes(std::span(bytes)), "t.imatrix");
}

std::string ErrorOf(const std::string& bytes) {
  return MessageOf([&] { Parse(bytes); });
}

std::string TempPath(const std::string& name) { return ::testing::TempDir() + name; }

TEST(Imatrix, ComesBackAsItWasWritten) {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {{1, 2, 3, 0.5f}, {7}};
  matrix.entries["blk.0.ffn_gate_exps.weight"] = {{1, 2, 0, 0, 5, 6}, {3, 0, 9}};
  matrix.datasets = {"a.txt", "b.txt"};
  matrix.sensitivity = {{"blk.0.attn_q.weight", 0.25f}, {"output.weight", 3}};
  matrix.num_chunks = 5;
  matrix.chunk_tokens = 512;
  const std::string path = TempPath("written.imatrix");
  WriteImportanceMatrix(matrix, path);
  const ImportanceMatrix again = ReadImportanceMatrix(path);
  EXPECT_EQ(again.datasets, matrix.datasets);
  EXPECT_EQ(again.sensitivity, matrix.sensitivity);
  EXPECT_EQ(again.num_chunks, 5u);
  EXPECT_EQ(again.chunk_tokens, 512u);
  ASSERT_EQ(again.entries.size(), 2u);
  for (const auto& [name, entry] : matrix.entries) {
    EXPECT_EQ(again.entries.at(name).sums, entry.sums) << name;
    EXPECT_EQ(again.entries.at(name).counts, entry.counts) << name;
  }
  // What llama.cpp looks for.
  const GgufFile file = GgufFile::Open(path);
  EXPECT_EQ(file.GetString("general.type"), "imatrix");
  EXPECT_EQ(file.FindTensor("blk.0.ffn_gate_exps.weight.in_sum2")->dims,
            (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.FindTensor("blk.0.ffn_gate_exps.weight.counts")->dims,
            (std::vector<int64_t>{1, 3}));
  std::filesystem::remove(path);
}

// The older format, field by field.
GgufBytes Dat(std::string_view name, int32_t calls, const std::vector<float>& values) {
  GgufBytes bytes;
  bytes.Put<int32_t>(1).Put(static_cast<int32_t>(name.size())).Raw(name);
  bytes.Put(calls).Put(static_cast<int32_t>(values.size()));
  for (const float value : values) bytes.Put(value);
  return bytes;
}

TEST(Imatrix, ReadsTheOlderFormat) {
  const auto bytes = Dat("blk.1.attn_k.weight", 3, {6, 12});
  for (const bool named : {false, true}) {
    auto whole = bytes;
    if (named) whole.Put<int32_t>(9).Put<int32_t>(5).Raw("a.txt");
    const ImportanceMatrix matrix = Parse(whole.str());
    EXPECT_EQ(matrix.entries.at("blk.1.attn_k.weight").sums, (std::vector<float>{6, 12}));
    EXPECT_EQ(matrix.entries.at("blk.1.attn_k.weight").counts, std::vector<float>{3});
    EXPECT_EQ(matrix.num_chunks, named ? 9u : 0u);
    EXPECT_EQ(matrix.datasets.size(), named ? 1u : 0u);
  }
}

TEST(Imatrix, SaysWhatIsWrongWithTheOlderFormat) {
  const std::string good = Dat("w", 3, {6, 12}).str();
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(ErrorOf(good.substr(0, size)), "") << size;
  EXPECT_NE(ErrorOf(good + "x"), "");
  EXPECT_NE(ErrorOf(GgufBytes().Put<int32_t>(0).str()).find("no tensors"), std::string::npos);
  EXPECT_NE(ErrorOf(GgufBytes().Put<int32_t>(-1).str()).find("-1"), std::string::npos);
  EXPECT_NE(ErrorOf(GgufBytes().Put<int32_t>(std::numeric_limits<int32_t>::max()).str()), "");
  EXPECT_NE(ErrorOf(Dat("w", 3, {}).str()).find("do not belong together"), std::string::npos);
  EXPECT_NE(ErrorOf(Dat("w", 3, {1, -1}).str()).find("-1"), std::string::npos);
  EXPECT_NE(ErrorOf(Dat("w", 3, {1, std::numeric_limits<float>::quiet_NaN()}).str()), "");
  auto twice = GgufBytes().Put<int32_t>(2);
  twice.Raw(good.substr(4)).Raw(good.substr(4));
  EXPECT_NE(ErrorOf(twice.str()).find("twice"), std::string::npos);
}

GgufBytes Gguf(std::string_view type) {
  GgufBytes bytes;
  bytes.Header(2, 1).Key("general.type", GgufType::kString).Text(type);
  return bytes;
}

TEST(Imatrix, SaysWhatIsWrongWithAGgufFile) {
  const auto with = [](std::string_view sums, uint64_t num_sums, uint32_t sums_type,
                       std::string_view counts, uint64_t num_counts) {
    return Gguf("imatrix")
        .Tensor(sums, {num_sums}, sums_type, 0)
        .Tensor(counts, {num_counts}, 0, 32)
        .Data(64)
        .str();
  };
  EXPECT_EQ(Parse(with("w.in_sum2", 4, 0, "w.counts", 2)).entries.at("w").sums.size(), 4u);
  EXPECT_NE(ErrorOf(with("w.in_sum2", 4, 0, "w.counts", 3)).find("do not belong together"),
            std::string::npos);
  EXPECT_NE(ErrorOf(with("w.in_sum2", 4, 0, "v.counts", 2)).find("no counts"), std::string::npos);
  EXPECT_NE(ErrorOf(with("w.in_sum2", 4, 1, "w.counts", 2)).find("not of type F32"),
            std::string::npos);
  EXPECT_NE(ErrorOf(with("w.in_sum3", 4, 0, "w.counts", 2)).find("no tensors"), std::string::npos);
  const std::string model =
      Gguf("model").Tensor("a", {1}, 0, 0).Tensor("b", {1}, 0, 32).Data(64).str();
  EXPECT_NE(ErrorOf(model).find("no importance matrix"), std::string::npos);
}

TEST(Imatrix, ANameTooLongForOtherReadersIsAnError) {
  ImportanceMatrix matrix;
  matrix.entries[std::string(70, 'w')] = {{1}, {1}};
  EXPECT_NE(MessageOf([&] { WriteImportanceMatrix(matrix, TempPath("long.imatrix")); }), "");
  EXPECT_FALSE(std::filesystem::exists(TempPath("long.imatrix")));
}

}  // namespace
}  // namespace cadre
