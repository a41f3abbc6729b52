#include "formats/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "formats/gguf_test_bytes.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class GgufWriterTest : public testing::Test {
 protected:
  GgufWriterTest()
      : folder_(fs::temp_directory_path() / fmt::format("cadre-gguf-writer-test-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~GgufWriterTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

void WriteExample(const std::string& path) {
  GgufWriter writer(path);
  writer.SetString("general.architecture", "llama");
  writer.SetU32("u32", 4000000000);
  writer.SetI32("i32", -5);
  writer.SetU64("u64", uint64_t{1} << 40);
  writer.SetF32("f32", 1.5F);
  writer.SetBool("bool", true);
  const std::string zero("a\0b", 3);
  writer.SetStringArray("tokens", std::vector<std::string>{"<s>", "", zero});
  writer.SetF32Array("scores", std::vector<float>{0.5F, -1});
  writer.SetI32Array("types", std::vector<int32_t>{-3, 3});
  writer.SetU32Array("heads", std::vector<uint32_t>{8, 4000000000});
  writer.Declare("one", DType::kF32, std::vector<int64_t>{3});
  writer.Declare("q8", DType::kQ8_0, std::vector<int64_t>{2, 64});
  writer.Declare("experts", DType::kF16, std::vector<int64_t>{2, 3, 5});
  std::string data(12 + 4 * 34 + 60, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i);
  writer.Append(std::as_bytes(std::span(data)).first(100));
  writer.Append(std::as_bytes(std::span(data)).subspan(100));
  EXPECT_FALSE(fs::exists(path));
  writer.Commit();
}

TEST_F(GgufWriterTest, WrittenFileIsReadBack) {
  const std::string path = folder_ / "a.gguf";
  WriteExample(path);
  const auto file = GgufFile::Open(path);
  EXPECT_EQ(file.version(), 3U);
  EXPECT_EQ(file.GetString("general.architecture"), "llama");
  EXPECT_EQ(file.GetInt("u32"), 4000000000);
  EXPECT_EQ(file.GetInt("i32"), -5);
  EXPECT_EQ(file.GetInt("u64"), int64_t{1} << 40);
  EXPECT_EQ(file.GetFloat("f32"), 1.5);
  EXPECT_TRUE(file.GetBool("bool"));
  EXPECT_THAT(file.GetStringArray("tokens"), ElementsAre("<s>", "", std::string_view("a\0b", 3)));
  EXPECT_THAT(file.GetFloatArray("scores"), ElementsAre(0.5F, -1.0F));
  EXPECT_THAT(file.GetIntArray("types"), ElementsAre(-3, 3));
  EXPECT_THAT(file.GetIntArray("heads"), ElementsAre(8, 4000000000));
  EXPECT_TRUE(file.IsArray("heads"));
  EXPECT_FALSE(file.IsArray("u32"));

  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_THAT(file.tensors()[2].dims, ElementsAre(5, 3, 2));
  EXPECT_EQ(file.tensors()[1].dtype, DType::kQ8_0);
  uint8_t expected = 0;
  for (const auto& tensor : file.tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data.data()) % 32, 0U);
    for (const std::byte byte : tensor.data) ASSERT_EQ(byte, std::byte{expected++});
  }
  EXPECT_EQ(file.FindTensor("experts"), &file.tensors()[2]);
  EXPECT_EQ(file.FindTensor("none"), nullptr);
}

TEST_F(GgufWriterTest, CopiedMetadataIsTheSame) {
  WriteExample(folder_ / "a.gguf");
  const auto first = GgufFile::Open(folder_ / "a.gguf");
  {
    GgufWriter writer(folder_ / "b.gguf");
    for (const auto& entry : first.entries()) writer.Copy(entry);
    writer.Commit();
  }
  const auto second = GgufFile::Open(folder_ / "b.gguf");
  EXPECT_EQ(second.GetInt("i32"), -5);
  EXPECT_EQ(second.GetFloat("f32"), 1.5);
  EXPECT_EQ(second.GetStringArray("tokens"), first.GetStringArray("tokens"));
  EXPECT_EQ(second.entries().size(), first.entries().size());
}

TEST(GgufWriter, CopyKeepsEveryTypeAndLeavesTheContainerOut) {
  GgufBytes text;
  text.Header(0, 14);
  text.Key("u8", GgufType::kU8).Put<uint8_t>(200).Key("i8", GgufType::kI8).Put<int8_t>(-100);
  text.Key("u16", GgufType::kU16).Put<uint16_t>(60000).Key("i16", GgufType::kI16).Put<int16_t>(-9);
  text.Key("u32", GgufType::kU32).Put<uint32_t>(1).Key("i32", GgufType::kI32).Put<int32_t>(-1);
  text.Key("f32", GgufType::kF32).Put(0.1F).Key("bool", GgufType::kBool).Put<uint8_t>(0);
  text.Key("s", GgufType::kString).Text("x").Key("u64", GgufType::kU64).Put(~uint64_t{0});
  text.Key("i64", GgufType::kI64).Put(INT64_MIN).Key("f64", GgufType::kF64).Put(0.1);
  text.Key("general.alignment", GgufType::kU32).Put<uint32_t>(8);
  text.Key("split.no", GgufType::kU16).Put<uint16_t>(0);
  const auto file = ParseText(text.str());
  EXPECT_EQ(file.alignment(), 8U);
  const std::string path =
      fs::temp_directory_path() / fmt::format("cadre-gguf-copy-{}.gguf", getpid());
  GgufWriter writer(path);
  for (const auto& entry : file.entries()) writer.Copy(entry);
  writer.Commit();
  const auto copy = GgufFile::Open(path);
  fs::remove(path);
  ASSERT_EQ(copy.entries().size(), 12U);
  for (size_t i = 0; i < copy.entries().size(); ++i) {
    EXPECT_EQ(copy.entries()[i].key, file.entries()[i].key);
    EXPECT_EQ(copy.entries()[i].value.type, file.entries()[i].value.type);
    if (i != 8) {
      EXPECT_EQ(copy.entries()[i].value.value.index(), file.entries()[i].value.value.index());
    }
  }
  EXPECT_EQ(copy.GetInt("i8"), -100);
  EXPECT_EQ(copy.GetInt("u16"), 60000);
  EXPECT_EQ(copy.GetInt("i64"), INT64_MIN);
  EXPECT_EQ(copy.GetFloat("f64"), 0.1);
  EXPECT_EQ(copy.GetFloat("f32"), double{0.1F});
}

TEST_F(GgufWriterTest, WriterRefusesWhatOtherReadersRefuse) {
  GgufWriter writer(folder_ / "a");
  using Shape = std::vector<int64_t>;
  EXPECT_THROW(writer.Declare(std::string(64, 'x'), DType::kF32, Shape{1}), Error);
  EXPECT_THROW(writer.Declare("rank 0", DType::kF32, Shape{}), Error);
  EXPECT_THROW(writer.Declare("rank 5", DType::kF32, Shape{1, 1, 1, 1, 1}), Error);
  EXPECT_THROW(writer.Declare("zero", DType::kF32, Shape{0, 4}), Error);
  EXPECT_THROW(writer.Declare("half a block", DType::kQ4_K, Shape{2, 128}), Error);
  EXPECT_THROW(writer.Declare("huge", DType::kF32, Shape{INT64_MAX, INT64_MAX}), Error);
}

}  // namespace
}  // namespace cadre
