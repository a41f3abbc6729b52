#include "formats/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/gguf_writer.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest()
      : folder_(fs::temp_directory_path() / fmt::format("cadre-checkpoint-test-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~CheckpointTest() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ / name; }

  // A file of float32 [2, 3] tensors; every value of a tensor is its place in the list.
  void WriteSafetensors(const std::string& file, const std::vector<std::string>& names) const {
    SafetensorsWriter writer(Path(file));
    for (const auto& name : names) writer.Declare(name, DType::kF32, std::vector<int64_t>{2, 3});
    for (size_t i = 0; i < names.size(); ++i) {
      const std::vector<float> values(6, static_cast<float>(i));
      writer.Append(std::as_bytes(std::span(values)));
    }
    writer.Commit();
  }

  void WriteGguf(const std::string& file, const std::string& tensor, int part = 0,
                 int num_parts = 1, int total = 2) const {
    GgufWriter writer(Path(file));
    if (num_parts > 1) {
      writer.SetU32("split.no", static_cast<uint32_t>(part));
      writer.SetU32("split.count", static_cast<uint32_t>(num_parts));
      writer.SetI32("split.tensors.count", total);
    }
    writer.Declare(tensor, DType::kQ8_0, std::vector<int64_t>{4, 2, 32});
    writer.Append(std::vector<std::byte>(8 * 34));
    writer.Commit();
  }

  void WriteText(const std::string& file, std::string_view text) const {
    WriteFileAtomically(Path(file), text);
  }

  std::string MessageOf(const std::string& path) const {
    try {
      Checkpoint::Open(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::string MessageOf() const { return MessageOf(folder_); }

  fs::path folder_;
};

TEST_F(CheckpointTest, SingleFileFolderGivesTensorsAndConfig) {
  WriteSafetensors("model.safetensors", {"b", "a"});
  WriteSafetensors("consolidated.safetensors", {"other"});
  WriteText("config.json", R"({"model_type":"mixtral"})");
  WriteText("pytorch_model.bin", "PK\x03\x04");
  const auto checkpoint = Checkpoint::Open(folder_);
  EXPECT_EQ(checkpoint.kind(), CheckpointKind::kHuggingFace);
  EXPECT_EQ(checkpoint.config().at("model_type"), "mixtral");
  EXPECT_EQ(checkpoint.gguf(), nullptr);
  EXPECT_EQ(checkpoint.path(), folder_);
  EXPECT_EQ(checkpoint.bytes(), fs::file_size(Path("model.safetensors")));
  ASSERT_EQ(checkpoint.Tensors().size(), 2U);
  EXPECT_EQ(checkpoint.Tensors()[0].name, "b");
  const auto found = checkpoint.Find("a");
  ASSERT_TRUE(found);
  EXPECT_THAT(found->shape, ElementsAre(2, 3));
  EXPECT_EQ(found->type_name, "F32");
  EXPECT_EQ(found->file, Path("model.safetensors"));
  const Weight weight = found->AsWeight();
  EXPECT_EQ(weight.rows, 2);
  EXPECT_EQ(weight.cols, 3);
  EXPECT_EQ(*reinterpret_cast<const float*>(weight.row(1)), 1.0F);
  EXPECT_FALSE(checkpoint.Find("other"));
}

TEST_F(CheckpointTest, OneSafetensorsFileNeedsNoConfigUntilItIsAskedFor) {
  WriteSafetensors("any.safetensors", {"a"});
  const auto checkpoint = Checkpoint::Open(Path("any.safetensors"));
  EXPECT_TRUE(checkpoint.Find("a"));
  EXPECT_EQ(checkpoint.folder(), folder_);
  EXPECT_THROW(checkpoint.config(), Error);
}

TEST_F(CheckpointTest, ViewsSurviveAMoveOfTheCheckpoint) {
  WriteSafetensors("model.safetensors", {"a"});
  auto first = Checkpoint::Open(folder_);
  const auto view = first.Find("a");
  const auto second = std::move(first);
  EXPECT_EQ(second.Find("a")->data.data(), view->data.data());
}

TEST_F(CheckpointTest, ShardsAreReadInTheOrderOfTheirNames) {
  WriteSafetensors("model-00001-of-00002.safetensors", {"a", "c"});
  WriteSafetensors("model-00002-of-00002.safetensors", {"b"});
  WriteText("model.safetensors.index.json",
            R"({"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
            R"("b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(folder_);
  ASSERT_EQ(checkpoint.Tensors().size(), 3U);
  EXPECT_EQ(checkpoint.Tensors()[1].name, "c");
  EXPECT_EQ(checkpoint.Find("b")->file, Path("model-00002-of-00002.safetensors"));
}

TEST_F(CheckpointTest, IndexAndShardsMustAgree) {
  WriteSafetensors("s1.safetensors", {"a"});
  WriteSafetensors("s2.safetensors", {"b"});
  const auto with = [&](const std::string& weight_map) {
    WriteText("model.safetensors.index.json", R"({"weight_map":)" + weight_map + "}");
    return MessageOf();
  };
  EXPECT_EQ(with(R"({"a":"s1.safetensors","b":"s2.safetensors"})"), "no error");
  EXPECT_THAT(with(R"({"a":"s1.safetensors","c":"s1.safetensors"})"),
              HasSubstr("tensor 'c' is not in this file"));
  EXPECT_THAT(with(R"({"a":"s1.safetensors","c":"s2.safetensors"})"),
              HasSubstr("tensor 'b' is in this file, but model.safetensors.index.json says it is "
                        "in no file"));
  EXPECT_THAT(with(R"({"a":"s2.safetensors","b":"s1.safetensors"})"), HasSubstr("says it is in"));
  EXPECT_THAT(with(R"({"a":"s1.safetensors","b":"s3.safetensors"})"),
              HasSubstr("s3.safetensors: is missing, but 1 tensors"));
  WriteSafetensors("s2.safetensors", {"b", "a"});
  EXPECT_THAT(with(R"({"a":"s1.safetensors","b":"s2.safetensors"})"), HasSubstr("tensor 'a'"));
}

TEST_F(CheckpointTest, ShardNamesCannotLeaveTheFolder) {
  for (const std::string shard :
       {"../x.safetensors", "/etc/x.safetensors", "sub/x.safetensors", "..\\\\x.safetensors", "",
        "..", "x.bin", "a\\u0000.safetensors", "\\u001b.bin"}) {
    WriteText("model.safetensors.index.json", R"({"weight_map":{"a":")" + shard + "\"}}");
    EXPECT_THAT(MessageOf(), HasSubstr("must name .safetensors files of the same folder")) << shard;
  }
}

TEST_F(CheckpointTest, BrokenIndexFilesAreErrors) {
  for (const char* text : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"x","a":"y"}})"}) {
    WriteText("model.safetensors.index.json", text);
    EXPECT_THAT(MessageOf(), HasSubstr("model.safetensors.index.json: ")) << text;
  }
}

TEST_F(CheckpointTest, ConfigMustBeAnObject) {
  WriteSafetensors("model.safetensors", {"a"});
  WriteText("config.json", "[1]");
  EXPECT_THAT(MessageOf(), HasSubstr("config.json: must hold a JSON object"));
}

TEST_F(CheckpointTest, PicklesAreRefusedWithAWayOut) {
  WriteText("pytorch_model.bin", "PK\x03\x04");
  EXPECT_THAT(MessageOf(), HasSubstr("convert it to .safetensors"));
  EXPECT_THAT(MessageOf(Path("pytorch_model.bin")), HasSubstr("convert it to .safetensors"));
  WriteText("hidden.safetensors", std::string("\x80\x02}q") + std::string(20, 'x'));
  EXPECT_THAT(MessageOf(Path("hidden.safetensors")), HasSubstr("convert it to .safetensors"));
}

TEST_F(CheckpointTest, WhatIsNoModelIsRefused) {
  EXPECT_THAT(MessageOf(), HasSubstr("holds no model"));
  EXPECT_THAT(MessageOf(Path("missing")), HasSubstr("cannot be opened"));
  WriteText("empty.safetensors", "");
  EXPECT_THAT(MessageOf(Path("empty.safetensors")), HasSubstr("neither a GGUF nor a safetensors"));
  WriteText("text.gguf", "This is just a text.");
  EXPECT_THAT(MessageOf(Path("text.gguf")), HasSubstr("neither a GGUF nor a safetensors"));
}

TEST_F(CheckpointTest, MistralsOwnLayoutIsOpenedWhereThereIsNoOther) {
  WriteSafetensors("consolidated.safetensors", {"a"});
  WriteText("params.json", R"({"dim":64})");
  const auto checkpoint = Checkpoint::Open(folder_);
  EXPECT_EQ(checkpoint.kind(), CheckpointKind::kMistral);
  EXPECT_EQ(checkpoint.config().at("dim"), 64);
  WriteSafetensors("model.safetensors", {"b"});
  EXPECT_EQ(Checkpoint::Open(folder_).kind(), CheckpointKind::kHuggingFace);
}

TEST_F(CheckpointTest, GgufIsToldByItsMagicAndItsShapesAreReversed) {
  WriteGguf("model.bin", "experts");
  const auto checkpoint = Checkpoint::Open(Path("model.bin"));
  EXPECT_EQ(checkpoint.kind(), CheckpointKind::kGguf);
  ASSERT_NE(checkpoint.gguf(), nullptr);
  const auto found = checkpoint.Find("experts");
  EXPECT_THAT(found->shape, ElementsAre(4, 2, 32));
  EXPECT_EQ(found->AsWeight().rows, 8);
  EXPECT_EQ(found->AsWeight().cols, 32);
  EXPECT_EQ(found->AsWeight().bytes(), static_cast<int64_t>(found->data.size()));
}

TEST_F(CheckpointTest, FolderWithOneGgufOpensIt) {
  WriteGguf("m.gguf", "a");
  EXPECT_EQ(Checkpoint::Open(folder_).kind(), CheckpointKind::kGguf);
  WriteGguf("n.gguf", "a");
  EXPECT_THAT(MessageOf(), HasSubstr("holds 2 .gguf files"));
}

TEST_F(CheckpointTest, PartsOfASplitGgufAreOneModel) {
  WriteGguf("m-00001-of-00002.gguf", "a", 0, 2);
  WriteGguf("m-00002-of-00002.gguf", "b", 1, 2);
  EXPECT_EQ(Checkpoint::Open(folder_).Tensors().size(), 2U);
  EXPECT_TRUE(Checkpoint::Open(Path("m-00001-of-00002.gguf")).Find("b"));
  EXPECT_THAT(MessageOf(Path("m-00002-of-00002.gguf")),
              HasSubstr("is part 2 of 2; open the first"));
}

TEST_F(CheckpointTest, GgufFilesMayLieOneFolderBelow) {
  fs::create_directory(Path("Q8_0"));
  WriteGguf("Q8_0/m-00001-of-00002.gguf", "a", 0, 2);
  WriteGguf("Q8_0/m-00002-of-00002.gguf", "b", 1, 2);
  EXPECT_EQ(Checkpoint::Open(folder_).Tensors().size(), 2U);
  fs::create_directory(Path("Q4_0"));
  WriteGguf("Q4_0/m.gguf", "a");
  EXPECT_THAT(MessageOf(), HasSubstr("holds 3 .gguf files"));
}

TEST_F(CheckpointTest, AnIndexAndAFileItDoesNotNameAreTwoModels) {
  WriteSafetensors("model-00001-of-00001.safetensors", {"a"});
  WriteText("model.safetensors.index.json",
            R"({"weight_map":{"a":"model-00001-of-00001.safetensors"}})");
  EXPECT_EQ(MessageOf(), "no error");
  WriteSafetensors("model.safetensors", {"a"});
  EXPECT_THAT(MessageOf(), HasSubstr("remove the one that is not the model"));
  WriteText("model.safetensors.index.json", R"({"weight_map":{"a":"model.safetensors"}})");
  EXPECT_EQ(MessageOf(), "no error");
}

TEST_F(CheckpointTest, BrokenSplitsAreErrors) {
  const std::string first = Path("m-00001-of-00002.gguf");
  WriteGguf("m-00001-of-00002.gguf", "a", 0, 2);
  EXPECT_THAT(MessageOf(first), HasSubstr("m-00002-of-00002.gguf: cannot be opened"));
  WriteGguf("m-00002-of-00002.gguf", "b", 0, 2);
  EXPECT_THAT(MessageOf(first), HasSubstr("split.no is 0 and split.count 2 but must be 1 and 2"));
  WriteGguf("m-00002-of-00002.gguf", "a", 1, 2);
  EXPECT_THAT(MessageOf(first), HasSubstr("tensor 'a' is also in"));
  WriteGguf("m-00002-of-00002.gguf", "b", 1, 2);
  WriteGguf("m-00001-of-00002.gguf", "a", 0, 2, 3);
  EXPECT_THAT(MessageOf(first), HasSubstr("split.tensors.count is 3"));
  WriteGguf("renamed.gguf", "a", 0, 2);
  EXPECT_THAT(MessageOf(Path("renamed.gguf")), HasSubstr("must end in -00001-of-00002.gguf"));
  WriteGguf("m-00001-of-00002.gguf", "a", 7, 2);
  EXPECT_THAT(MessageOf(first), HasSubstr("split.no is 7 but must be from 0 to 1"));
  WriteGguf("m-00001-of-00002.gguf", "a", 0, 5000);
  EXPECT_THAT(MessageOf(first), HasSubstr("split.count is 5000"));
}

TEST_F(CheckpointTest, ATypeThatCannotBeComputedWithFailsOnlyWhenUsed) {
  SafetensorsWriter writer(Path("model.safetensors"));
  writer.Declare("f8", SafetensorsType::kF8E4M3, std::vector<int64_t>{2});
  writer.Append(std::vector<std::byte>(2));
  writer.Commit();
  const auto checkpoint = Checkpoint::Open(folder_);
  const auto found = checkpoint.Find("f8");
  EXPECT_EQ(found->dtype, std::nullopt);
  try {
    found->AsWeight();
    ADD_FAILURE() << "F8 as a weight";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tensor 'f8' is stored as F8_E4M3 but must be one of F32"));
  }
}

}  // namespace
}  // namespace cadre
