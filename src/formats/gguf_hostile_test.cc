#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/gguf.h"
#include "formats/gguf_test_bytes.h"

namespace cadre {
namespace {

using testing::HasSubstr;

struct Hostile {
  const char* what;
  std::string bytes;
  const char* expected;
};

GgufBytes OneEntry(GgufType type) { return GgufBytes().Header(0, 1).Key("k", type); }

GgufBytes OneArray(uint32_t element, uint64_t count) {
  return OneEntry(GgufType::kArray).Put(element).Put(count);
}

std::string OneTensor(std::vector<uint64_t> dims, uint32_t type, uint64_t offset, size_t bytes) {
  return GgufBytes().Header(1, 0).Tensor("t", std::move(dims), type, offset).Data(bytes).str();
}

std::string TwoTensors(std::string_view name, uint64_t offset) {
  return GgufBytes()
      .Header(2, 0)
      .Tensor("t", {16}, 0, 0)
      .Tensor(name, {16}, 0, offset)
      .Data(128)
      .str();
}

template <typename T>
std::string WithAlignment(GgufType type, T value) {
  return GgufBytes().Header(0, 1).Key("general.alignment", type).Put(value).str();
}

std::vector<Hostile> HostileHeaders() {
  return {
      {"empty", "", "must begin with 'GGUF'"},
      {"other magic", "GGML" + std::string(40, '\0'), "must begin with 'GGUF'"},
      {"version 0", GgufBytes().Header(0, 0, 0).str(), "version is 0"},
      {"version 1", GgufBytes().Header(0, 0, 1).str(), "version 1, which is no longer read"},
      {"version 4", GgufBytes().Header(0, 0, 4).str(), "version is 4 but must be 2 or 3"},
      {"big-endian", GgufBytes().Header(0, 0, 0x03000000).str(), "big-endian"},
      {"too many tensors", GgufBytes().Header(uint64_t{1} << 62, 0).str(), "must be at most"},
      {"no room for tensors", GgufBytes().Header(1000, 0).Data(900).str(), "hold at most"},
      {"too many entries", GgufBytes().Header(0, ~uint64_t{0}).str(), "must be at most"},
      {"no room for entries", GgufBytes().Header(0, 1000).Data(900).str(), "hold at most"},
      {"long key", GgufBytes().Header(0, 1).Put(uint64_t{70000}).Data(80000).str(),
       "length of 70000 but may have at most 65535"},
      {"key beyond the file", GgufBytes().Header(0, 1).Put(uint64_t{60000}).Data(60).str(),
       "needs 60000 bytes"},
      {"unknown value type", GgufBytes().Header(0, 1).Text("k").Put(uint32_t{13}).Data(8).str(),
       "the value of 'k' has type 13 but must have 0 to 12"},
      {"bool of 2", OneEntry(GgufType::kBool).Put<uint8_t>(2).str(), "is the bool 2"},
      {"huge string", OneEntry(GgufType::kString).Put(~uint64_t{0}).str(), "may have at most"},
      {"string beyond the file", OneEntry(GgufType::kString).Put(uint64_t{99}).str(),
       "needs 99 bytes"},
      {"array of arrays", OneArray(9, 1).Data(40).str(), "array of arrays"},
      {"array of unknown type", OneArray(99, 1).Data(40).str(), "has type 99"},
      {"huge array", OneArray(0, uint64_t{1} << 61).Data(40).str(), "may have at most 16777216"},
      {"array whose bytes wrap", OneArray(10, uint64_t{1} << 61).Data(40).str(), "at most"},
      {"array beyond the file", OneArray(10, 1000).Data(40).str(), "hold at most"},
      {"strings beyond the file", OneArray(8, 2).Text("a").Put(uint64_t{7}).str(), "needs 7 bytes"},
      {"array of bad bools", OneArray(7, 2).Put<uint8_t>(1).Put<uint8_t>(3).str(), "the bool 3"},
      {"key twice",
       GgufBytes()
           .Header(0, 2)
           .Key("k", GgufType::kU8)
           .Put<uint8_t>(1)
           .Key("k", GgufType::kU8)
           .Put<uint8_t>(1)
           .str(),
       "key 'k' occurs twice"},
      {"alignment 0", WithAlignment(GgufType::kU32, uint32_t{0}), "general.alignment is 0"},
      {"alignment 24", WithAlignment(GgufType::kU32, uint32_t{24}), "power of two"},
      {"alignment 2^31", WithAlignment(GgufType::kU32, uint32_t{1} << 31), "power of two"},
      {"alignment negative", WithAlignment(GgufType::kI32, int32_t{-32}), "is -32"},
      {"alignment no integer", WithAlignment(GgufType::kF32, 32.0F), "must be an integer"},
  };
}

std::vector<Hostile> HostileTensors() {
  return {
      {"no name", GgufBytes().Header(1, 0).Tensor("", {1}, 0, 0).Data(4).str(), "has no name"},
      {"long name", GgufBytes().Header(1, 0).Tensor(std::string(1025, 'x'), {1}, 0, 0).str(),
       "length of 1025"},
      {"no dimensions", OneTensor({}, 0, 0, 64), "0 dimensions but must have 1 to 4"},
      {"five dimensions", OneTensor({1, 1, 1, 1, 1}, 0, 0, 4), "5 dimensions"},
      {"a dimension of 0", OneTensor({4, 0}, 0, 0, 4), "a dimension of 0"},
      {"a dimension of 2^63", OneTensor({uint64_t{1} << 63}, 0, 0, 4), "each must be 1 to"},
      {"elements overflow", OneTensor({1ULL << 40, 1ULL << 40}, 0, 0, 4), "overflows"},
      {"bytes overflow to 4", OneTensor({(1ULL << 62) + 1}, 0, 0, 4), "overflows"},
      {"elements of an unknown type overflow", OneTensor({1ULL << 40, 1ULL << 40}, 97, 0, 4),
       "overflows"},
      {"half a block", OneTensor({48}, 8, 0, 51), "type Q8_0 needs a multiple of 32"},
      {"offset not aligned", OneTensor({1}, 0, 4, 40), "offset 4 but must have a multiple of 32"},
      {"end overflows", OneTensor({16}, 0, ~uint64_t{31}, 64), "overflows"},
      {"offset beyond the file", OneTensor({16}, 0, 1 << 20, 64), "but the file holds 64"},
      {"unknown type beyond the file", OneTensor({16}, 97, 1 << 20, 64), "the file holds 64"},
      {"one byte short", OneTensor({16}, 0, 0, 63), "is it cut short?"},
      {"exabytes", OneTensor({1ULL << 58}, 0, 0, 64), "the file holds 64"},
      {"name twice", TwoTensors("t", 64), "tensor 't' occurs twice"},
      {"overlap", TwoTensors("u", 32), "tensors 't' and 'u' overlap"},
      {"alias", TwoTensors("u", 0), "overlap"},
      {"terminal escapes in a name",
       GgufBytes().Header(1, 0).Tensor("\x1b[2J", {}, 0, 0).Data(40).str(), "'\\x1b[2J'"},
  };
}

TEST(GgufHostile, EveryRuleOfTheHeaderHasItsError) {
  for (const auto& hostile : HostileHeaders()) {
    const std::string message = MessageOf([&] { ParseText(hostile.bytes); });
    EXPECT_THAT(message, HasSubstr(hostile.expected)) << hostile.what;
    EXPECT_THAT(message, testing::StartsWith("t.gguf: ")) << hostile.what;
  }
}

TEST(GgufHostile, EveryRuleOfTheTensorsHasItsError) {
  for (const auto& hostile : HostileTensors()) {
    const std::string message = MessageOf([&] { ParseText(hostile.bytes); });
    EXPECT_THAT(message, HasSubstr(hostile.expected)) << hostile.what;
    EXPECT_THAT(message, testing::StartsWith("t.gguf: ")) << hostile.what;
  }
}

std::string Example() {
  return GgufBytes()
      .Header(2, 3)
      .Key("general.architecture", GgufType::kString)
      .Text("llama")
      .Key("tokens", GgufType::kArray)
      .Put(uint32_t{8})
      .Put(uint64_t{2})
      .Text("a")
      .Text("bc")
      .Key("flags", GgufType::kArray)
      .Put(uint32_t{7})
      .Put(uint64_t{1})
      .Put<uint8_t>(1)
      .Tensor("a", {32, 2}, 8, 0)
      .Tensor("b", {4}, 0, 96)
      .Data(112)
      .str();
}

TEST(GgufHostile, AFileCutAnywhereIsAnError) {
  const std::string whole = Example();
  ASSERT_EQ(MessageOf([&] { ParseText(whole); }), "no error");
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string message = MessageOf([&] { ParseText(whole.substr(0, size)); });
    EXPECT_THAT(message, testing::StartsWith("t.gguf: ")) << size;
  }
}

TEST(GgufHostile, ADamagedByteIsAnErrorOrAFileButNeverACrash) {
  const std::string whole = Example();
  for (size_t place = 0; place < whole.size() - 112; ++place) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = whole;
      damaged[place] = static_cast<char>(value);
      MessageOf([&] { ParseText(damaged); });
    }
  }
}

}  // namespace
}  // namespace cadre
