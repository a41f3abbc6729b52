#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <filesystem>

#include "base/error.h"
#include "formats/ggml_types.h"
#include "formats/gguf_test_bytes.h"
#include "formats/gguf_writer.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class GgufTest : public testing::Test {
 protected:
  GgufTest() : folder_(fs::temp_directory_path() / fmt::format("cadre-gguf-test-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~GgufTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(Gguf, GettersNameTheKeyWhatWasFoundAndWhatWasExpected) {
  GgufBytes text;
  text.Header(0, 5);
  text.Key("count", GgufType::kU64).Put(~uint64_t{0}).Key("text", GgufType::kString).Text("x\ny");
  text.Key("list", GgufType::kArray).Put(uint32_t{6}).Put(uint64_t{1}).Put(2.0F);
  text.Key("big", GgufType::kArray).Put(uint32_t{10}).Put(uint64_t{1}).Put(~uint64_t{0});
  text.Key("flag", GgufType::kBool).Put<uint8_t>(1);
  const auto file = ParseText(text.str());
  EXPECT_EQ(MessageOf([&] { file.GetInt("count"); }),
            "t.gguf: count is the u64 18446744073709551615 but must be an integer below 2^63");
  EXPECT_EQ(MessageOf([&] { file.GetInt("text", 3); }),
            "t.gguf: text is the string 'x\\x0ay' but must be an integer below 2^63");
  EXPECT_THAT(MessageOf([&] { file.GetInt("flag"); }), HasSubstr("the bool true"));
  EXPECT_THAT(MessageOf([&] { file.GetFloat("count"); }), HasSubstr("must be an f32 or f64"));
  EXPECT_THAT(MessageOf([&] { file.GetBool("text"); }), HasSubstr("must be a bool"));
  EXPECT_THAT(MessageOf([&] { file.GetString("list"); }), HasSubstr("is an array of 1 f32"));
  EXPECT_THAT(MessageOf([&] { file.GetStringArray("list"); }), HasSubstr("array of strings"));
  EXPECT_THAT(MessageOf([&] { file.GetIntArray("list"); }), HasSubstr("array of integers"));
  EXPECT_THAT(MessageOf([&] { file.GetIntArray("big"); }), HasSubstr("below 2^63"));
  EXPECT_THAT(MessageOf([&] { file.GetFloatArray("text"); }), HasSubstr("array of f32"));
  EXPECT_EQ(MessageOf([&] { file.GetInt("none"); }), "t.gguf: metadata has no none");
  EXPECT_EQ(file.GetInt("none", 3), 3);
  EXPECT_EQ(file.GetString("none", "s"), "s");
  EXPECT_EQ(file.GetFloat("none", 0.5), 0.5);
  EXPECT_TRUE(file.GetBool("none", true));
}

TEST(Gguf, VersionTwoIsReadAndUnpaddedEndsAreFine) {
  const auto file = ParseText(GgufBytes().Header(1, 0, 2).Tensor("t", {3}, 0, 0).Data(12).str());
  EXPECT_EQ(file.version(), 2U);
  EXPECT_EQ(file.tensors()[0].data.size(), 12U);
}

TEST(Gguf, TypesThatCannotBeComputedWithAreListed) {
  const auto file = ParseText(GgufBytes()
                                  .Header(3, 0)
                                  .Tensor("grid", {256, 2}, 17, 0)
                                  .Tensor("fork", {100, 2}, 97, 160)
                                  .Tensor("ids", {4}, 26, 192)
                                  .Data(208)
                                  .str());
  EXPECT_EQ(file.tensors()[0].dtype, std::nullopt);
  EXPECT_EQ(file.tensors()[0].data.size(), 148U);
  EXPECT_EQ(GgmlTypeName(file.tensors()[0].type_id), "IQ2_XS");
  EXPECT_FALSE(file.tensors()[1].has_known_size);
  EXPECT_TRUE(file.tensors()[1].data.empty());
  EXPECT_EQ(GgmlTypeName(97), "unknown type 97");
}

TEST(Gguf, TheTypeTableAgreesWithTheComputableTypes) {
  for (uint32_t id = 0; id < 256; ++id) {
    const auto type = DTypeFromGgml(id);
    if (!type) continue;
    ASSERT_NE(FindGgmlType(id), nullptr);
    EXPECT_EQ(FindGgmlType(id)->name, Info(*type).name);
    EXPECT_EQ(FindGgmlType(id)->block_elems, Info(*type).block_elems);
    EXPECT_EQ(FindGgmlType(id)->block_bytes, Info(*type).block_bytes);
  }
}

TEST_F(GgufTest, ASparseFileOfNinetyGigabytesOpensAtOnce) {
  const std::string path = folder_ / "big.gguf";
  {
    GgufWriter writer(path);
    std::vector<std::string> tokens(32000);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = fmt::format("token {}", i);
    writer.SetStringArray("tokenizer.ggml.tokens", tokens);
    writer.SetF32Array("tokenizer.ggml.scores", std::vector<float>(32000));
    writer.Commit();
  }
  // The same metadata with 300 tensors of 300 MB, of which none is on the disk.
  std::string text(MappedFile(path).text());
  const uint64_t num_tensors = 300;
  const uint64_t bytes = 300 << 20;
  std::memcpy(text.data() + 8, &num_tensors, 8);
  GgufBytes infos;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    infos.Tensor(fmt::format("blk.{}.weight", i), {1 << 20, 75}, 0, i * bytes);
  }
  text = text.substr(0, text.find_last_not_of('\0') + 1);
  // The scores are zeros: cut behind them, not behind the last letter.
  const auto scores_end = text.rfind("tokenizer.ggml.scores") + 21 + 4 + 4 + 8 + 32000 * 4;
  text.resize(scores_end, '\0');
  text += infos.str();
  WriteFileAtomically(path, GgufBytes().Raw(text).Data(0).str());
  std::error_code error;
  fs::resize_file(path, fs::file_size(path) + num_tensors * bytes, error);
  if (error) GTEST_SKIP() << "no sparse file of 90 GB here: " << error.message();

  const std::clock_t start = std::clock();  // time at work: a busy machine may delay any process
  const auto file = GgufFile::Open(path);
  EXPECT_EQ(file.GetStringArray("tokenizer.ggml.tokens")[31999], "token 31999");
  EXPECT_EQ(file.tensors().size(), num_tensors);
  EXPECT_EQ(file.tensors().back().data.size(), bytes);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 0.5);
}

}  // namespace
}  // namespace cadre
