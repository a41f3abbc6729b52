#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

std::string FileBytes(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, 8);
  return file + header + std::string(data_bytes, 'd');
}

SafetensorsFile ParseText(const std::string& bytes) {
  return SafetensorsFile::Parse(std::as_bytes(std::span(bytes)), "t.safetensors");
}

std::string MessageOf(const std::string& bytes) {
  try {
    ParseText(bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsTest()
      : folder_(fs::temp_directory_path() / fmt::format("cadre-safetensors-test-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~SafetensorsTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(SafetensorsTest, WrittenFileIsReadBackInOrder) {
  const std::string path = folder_ / "a.safetensors";
  const std::vector<float> weights = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> ids = {-1, 7};
  {
    SafetensorsWriter writer(path, {{"step", "12"}});
    writer.Declare("z.weight", DType::kF32, std::vector<int64_t>{2, 3});
    writer.Declare("ids", SafetensorsType::kI64, std::vector<int64_t>{2});
    writer.Declare("empty \"quoted\" \xc3\xa9", DType::kBF16, std::vector<int64_t>{0, 4});
    writer.Declare("scalar", SafetensorsType::kU8, {});
    const auto bytes = std::as_bytes(std::span(weights));
    writer.Append(bytes.first(5));  // pieces need not end where tensors do
    writer.Append(bytes.subspan(5));
    writer.Append(std::as_bytes(std::span(ids)));
    writer.Append(std::as_bytes(std::span("\x09", 1)));
    EXPECT_FALSE(fs::exists(path));
    writer.Commit();
  }
  const auto file = SafetensorsFile::Open(path);
  ASSERT_EQ(file.entries().size(), 4U);
  EXPECT_EQ(file.entries()[0].name, "z.weight");
  EXPECT_EQ(file.entries()[1].name, "ids");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("step"), "12");
  EXPECT_EQ(file.bytes(), fs::file_size(path));
  const auto* found = file.Find("z.weight");
  ASSERT_NE(found, nullptr);
  EXPECT_THAT(found->shape, testing::ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(found->data.data(), weights.data(), 24), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(found->data.data()) % 64, 0U);
  EXPECT_EQ(file.Find("ids")->type, SafetensorsType::kI64);
  EXPECT_TRUE(file.Find("empty \"quoted\" \xc3\xa9")->data.empty());
  EXPECT_EQ(file.Find("scalar")->data.front(), std::byte{9});
  EXPECT_EQ(file.Find("missing"), nullptr);
}

TEST_F(SafetensorsTest, EmptyFileOfNoTensorsIsWrittenAndRead) {
  const std::string path = folder_ / "none.safetensors";
  SafetensorsWriter(path).Commit();
  EXPECT_TRUE(SafetensorsFile::Open(path).entries().empty());
}

TEST_F(SafetensorsTest, WriterRefusesToMisalignAnElement) {
  SafetensorsWriter writer(folder_ / "a");
  writer.Declare("bytes", SafetensorsType::kU8, std::vector<int64_t>{3});
  EXPECT_THROW(writer.Declare("floats", DType::kF32, std::vector<int64_t>{1}), Error);
}

TEST_F(SafetensorsTest, WriterRefusesNamesThatAreNotUtf8) {
  SafetensorsWriter writer(folder_ / "a");
  writer.Declare("\xff", DType::kF32, std::vector<int64_t>{0});
  EXPECT_THROW(writer.Commit(), Error);
  EXPECT_FALSE(fs::exists(folder_ / "a"));
}

TEST(Safetensors, EveryTypeHasItsSizeAndOnlyFloatsAreWeights) {
  const std::vector<std::pair<SafetensorsType, int>> sizes = {
      {SafetensorsType::kBool, 8}, {SafetensorsType::kF8E8M0, 8}, {SafetensorsType::kBF16, 16},
      {SafetensorsType::kU32, 32}, {SafetensorsType::kU64, 64},   {SafetensorsType::kF4, 4},
      {SafetensorsType::kC64, 64}, {SafetensorsType::kF6E3M2, 6}, {SafetensorsType::kF16, 16}};
  for (const auto& [type, bits] : sizes) EXPECT_EQ(Bits(type), bits) << Name(type);
  EXPECT_EQ(Name(SafetensorsType::kF8E5M2Fnuz), "F8_E5M2FNUZ");
  EXPECT_EQ(Name(SafetensorsType::kF6E3M2), "F6_E3M2");
  EXPECT_EQ(ToDType(SafetensorsType::kF8E4M3), std::nullopt);
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    EXPECT_EQ(ToDType(ToSafetensorsType(type)), type);
  }
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  // Spaces after the object, an odd header length, a type that is no weight, a zero dimension, two
  // tensors at one place.
  const auto file =
      ParseText(FileBytes(R"({"b":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]},)"
                          R"("a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},)"
                          R"("f4":{"dtype":"F4","shape":[2,3],"data_offsets":[3,6]}}   )",
                          6));
  ASSERT_EQ(file.entries().size(), 3U);
  EXPECT_EQ(file.entries()[0].name, "a");
  EXPECT_EQ(file.entries()[1].name, "b");
  EXPECT_EQ(file.entries()[2].data.size(), 3U);
  EXPECT_TRUE(ParseText(FileBytes("{}", 0)).entries().empty());
}

struct Hostile {
  const char* what;
  std::string bytes;
  const char* expected;
};

// A file of one F32 tensor whose members are as given; 8 bytes of data.
std::string WithMembers(const std::string& members) {
  return FileBytes("{\"t\":" + members + "}", 8);
}

std::vector<Hostile> HostileFiles() {
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const auto nul = [&](std::string text) {
    text[text.find('#')] = '\0';
    return text;
  };
  return {
      {"no length", "1234567", "needs 8 bytes"},
      {"huge length", std::string(8, '\x7f') + "{}", "must be at most 100000000"},
      {"length beyond the file", FileBytes("{}", 0).substr(0, 9), "needs 2 bytes"},
      {"empty header", FileBytes("", 0), "must begin with '{'"},
      {"space first", FileBytes(" {}", 0), "must begin with '{'"},
      {"not JSON", FileBytes("{\"t\":", 0), "not valid JSON"},
      {"not UTF-8", FileBytes("{\"\xff\":1}", 0), "not valid JSON"},
      {"text after the object", FileBytes("{} {}", 0), "not valid JSON"},
      {"hidden after a zero byte", FileBytes(nul("{}#{}"), 0), "a zero byte at 10"},
      {"deep nesting", FileBytes("{\"t\":" + std::string(100000, '['), 0), "nested deeper"},
      {"tensor twice", FileBytes("{\"t\":" + good + ",\"t\":" + good + "}", 8), "occurs twice"},
      {"member twice", WithMembers(R"({"dtype":"F32","dtype":"F32"})"), "occurs twice"},
      {"tensor no object", WithMembers("[]"), "must be an object"},
      {"unknown member", WithMembers(R"({"strides":[1]})"), "member 'strides'"},
      {"no dtype", WithMembers(R"({"shape":[2],"data_offsets":[0,8]})"), "has no dtype"},
      {"no shape", WithMembers(R"({"dtype":"F32","data_offsets":[0,8]})"), "has no shape"},
      {"no offsets", WithMembers(R"({"dtype":"F32","shape":[2]})"), "has no data_offsets"},
      {"unknown dtype", WithMembers(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"),
       "dtype is \"F31\""},
      {"dtype no string", WithMembers(R"({"dtype":3,"shape":[2],"data_offsets":[0,8]})"),
       "dtype is 3"},
      {"shape no array", WithMembers(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"),
       "shape is 2"},
      {"negative", WithMembers(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"),
       "shape is -2"},
      {"fraction", WithMembers(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"),
       "shape is 2.0"},
      {"exponent", WithMembers(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8e0]})"),
       "data_offsets is 8.0"},
      {"above 2^63",
       WithMembers(R"({"dtype":"F32","shape":[9223372036854775808],)"
                   R"("data_offsets":[0,8]})"),
       "shape is 9223372036854775808"},
      {"three offsets", WithMembers(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})"),
       "must be [begin, end]"},
      {"end before begin", WithMembers(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
       "end at 0, before"},
      {"product overflows",
       WithMembers(R"({"dtype":"F32","shape":[4294967296,4294967296,1],"data_offsets":[0,8]})"),
       "overflows"},
      {"bits overflow to the right size",
       WithMembers(R"({"dtype":"F32","shape":[576460752303423490],"data_offsets":[0,8]})"),
       "overflows"},
      {"half a byte", WithMembers(R"({"dtype":"F4","shape":[3],"data_offsets":[0,1]})"),
       "12 bits are no whole number of bytes"},
      {"wrong size", WithMembers(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
       "span 8 bytes, but shape and dtype F32 make 12"},
      {"hole first", WithMembers(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"),
       "begins at data byte 4 but must begin at 0"},
      {"data left over", WithMembers(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
       "holds 8 bytes of data, but its tensors end at 4"},
      {"data missing", WithMembers(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"),
       "end at 16; the file is cut short"},
      {"overlap",
       FileBytes(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                 R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                 8),
       "'b' begins at data byte 4 but must begin at 6"},
      {"alias", FileBytes("{\"a\":" + good + ",\"b\":" + good + "}", 8), "must begin at 8"},
      {"metadata no object", FileBytes(R"({"__metadata__":3})", 0), "must be an object"},
      {"metadata no string", FileBytes(R"({"__metadata__":{"a":{}}})", 0), "must be a string"},
      {"terminal escapes in a name", FileBytes("{\"\\u001b[2J\":[]}", 0), "tensor '\\x1b[2J'"},
  };
}

TEST(Safetensors, EveryRuleOfTheHeaderHasItsError) {
  for (const auto& hostile : HostileFiles()) {
    const std::string message = MessageOf(hostile.bytes);
    EXPECT_THAT(message, testing::HasSubstr(hostile.expected)) << hostile.what;
    EXPECT_THAT(message, testing::StartsWith("t.safetensors: ")) << hostile.what;
  }
}

TEST(Safetensors, AFileCutAnywhereIsAnError) {
  const std::string whole = FileBytes(
      R"({"__metadata__":{"format":"pt"},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
      8);
  ASSERT_EQ(MessageOf(whole), "no error");
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string message = MessageOf(whole.substr(0, size));
    EXPECT_THAT(message, testing::StartsWith("t.safetensors: ")) << size;
  }
}

TEST(Safetensors, ADamagedByteIsAnErrorOrAFileButNeverACrash) {
  const std::string whole = FileBytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                      R"("b":{"dtype":"I8","shape":[2,4],"data_offsets":[8,16]}})",
                                      16);
  for (size_t place = 0; place < whole.size() - 16; ++place) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = whole;
      damaged[place] = static_cast<char>(value);
      MessageOf(damaged);
    }
  }
}

}  // namespace
}  // namespace cadre
