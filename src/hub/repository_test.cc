#include "hub/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kSha1(40, 'a'), kSha256(64, 'b');

Json Entry(const std::string& path) {
  return {{"rfilename", path}, {"size", 5}, {"blobId", kSha1}};
}

Json Listing(std::vector<Json> files) { return {{"sha", kSha1}, {"siblings", files}}; }

std::string ErrorOf(const Json& json) {
  try {
    ParseRepository(json, "o/n");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Repository Of(const std::vector<std::string>& paths) {
  std::vector<Json> files;
  for (const auto& path : paths) files.push_back(Entry(path));
  return ParseRepository(Listing(files), "o/n");
}

std::vector<std::string> Chosen(const std::vector<std::string>& paths,
                                const std::vector<std::string>& patterns = {}) {
  std::vector<std::string> chosen;
  for (const auto& file : ChooseFiles(Of(paths), patterns, "o/n")) chosen.push_back(file.path);
  return chosen;
}

TEST(ParseRepository, TakesLargeFilesByTheirSha256) {
  Json large = Entry("model.safetensors");
  large["lfs"] = {{"sha256", kSha256}, {"size", 90'000'000'000}, {"pointerSize", 130}};
  const auto repository = ParseRepository(Listing({large, Entry("config.json")}), "o/n");
  EXPECT_EQ(repository.commit, kSha1);
  ASSERT_EQ(repository.files.size(), 2u);
  EXPECT_EQ(repository.files[0].size, 90'000'000'000u);
  EXPECT_EQ(repository.files[0].digest, kSha256);
  EXPECT_EQ(repository.files[0].digest_kind, DigestKind::kSha256);
  EXPECT_EQ(repository.files[1].digest, kSha1);
  EXPECT_EQ(repository.files[1].digest_kind, DigestKind::kGitBlob);
}

TEST(ParseRepository, RefusesWhatCannotBeTrusted) {
  EXPECT_THAT(ErrorOf(Json::array()), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf({{"siblings", Json::array()}}), HasSubstr("names no commit"));
  EXPECT_THAT(ErrorOf({{"sha", "../x"}, {"siblings", Json::array()}}),
              HasSubstr("names no commit"));
  EXPECT_THAT(ErrorOf({{"sha", kSha1}}), HasSubstr("lists no files"));
  EXPECT_THAT(ErrorOf(Listing({5})), HasSubstr("no object"));
  EXPECT_THAT(ErrorOf(Listing({Entry("a"), Entry("a")})), HasSubstr("lists a twice"));
  for (const char* path : {"", "/a", "../a", "a/../b", "a/", "a//b", ".", "a\\b", "C:a", "a\nb"})
    EXPECT_THAT(ErrorOf(Listing({Entry(path)})), HasSubstr("no plain relative path")) << path;
  Json file = Entry("a");
  file["size"] = -1;
  EXPECT_THAT(ErrorOf(Listing({file})), HasSubstr("size"));
  file = Entry("a");
  file["blobId"] = "ABC";
  EXPECT_THAT(ErrorOf(Listing({file})), HasSubstr("gives no checksum"));
  file = Entry("a");
  file["lfs"] = {{"sha256", kSha1}};
  EXPECT_THAT(ErrorOf(Listing({file})), HasSubstr("gives no checksum"));
}

TEST(ParseRepository, LeavesOutWhatUnfinishedFilesAreCalled) {
  const auto repository =
      ParseRepository(Listing({Entry("a"), Entry("a.partial"), Entry("a.partial.chunks"),
                               Entry("a.partial.synced")}),
                      "owner/name");
  ASSERT_EQ(repository.files.size(), 1u);
  EXPECT_EQ(repository.files[0].path, "a");
}

TEST(ChooseFiles, TakesOneLayoutAndWhatBelongsToIt) {
  EXPECT_THAT(Chosen({"README.md", "config.json", "consolidated.safetensors",
                      "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                      "model.safetensors.index.json", "params.json", "pytorch_model-1.bin",
                      "tokenizer.json", "tokenizer.model", "sub/config.json"}),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json", "README.md", "config.json", "params.json",
                          "tokenizer.json", "tokenizer.model"));
  EXPECT_THAT(Chosen({"consolidated.safetensors", "params.json", "tokenizer.model.v3"}),
              ElementsAre("consolidated.safetensors", "params.json", "tokenizer.model.v3"));
  EXPECT_THAT(Chosen({"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}),
              ElementsAre("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"));
}

TEST(ChooseFiles, AsksWhichOfSeveralGgufModels) {
  EXPECT_THROW(Chosen({"a.gguf", "b.gguf"}), Error);
  EXPECT_THAT(Chosen({"a.gguf", "b.gguf"}, {"b*"}), ElementsAre("b.gguf"));
  EXPECT_THROW(Chosen({"a.gguf"}, {"c*"}), Error);
  EXPECT_THROW(Chosen({"pytorch_model.bin", "config.json"}), Error);
}

TEST(MatchesPattern, KnowsStarsAndQuestionMarks) {
  EXPECT_TRUE(MatchesPattern("*Q4_K_M*.gguf", "mixtral.Q4_K_M-00001.gguf"));
  EXPECT_TRUE(MatchesPattern("a?c", "abc"));
  EXPECT_TRUE(MatchesPattern("*", ""));
  EXPECT_TRUE(MatchesPattern("*a*b", "xxaxxbab"));
  EXPECT_FALSE(MatchesPattern("a?c", "ac"));
  EXPECT_FALSE(MatchesPattern("a*", "ba"));
  EXPECT_FALSE(MatchesPattern("", "a"));
}

TEST(CheckRepositoryName, WantsOwnerAndName) {
  CheckRepositoryName("mistralai/Mixtral-8x7B-Instruct-v0.1");
  for (const char* name : {"", "a", "a/b/c", "a/..", "../a", "a/", "/a", "a b/c", "a/b?c"})
    EXPECT_THROW(CheckRepositoryName(name), Error) << name;
}

TEST(Digest, IsThatOfTheHub) {
  const std::string text = "hello\n";
  const auto of = [&](DigestKind kind) {
    Digest digest(kind, text.size());
    digest.Add(std::as_bytes(std::span(text)));
    return digest.Finish();
  };
  EXPECT_EQ(of(DigestKind::kSha256),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  EXPECT_EQ(of(DigestKind::kGitBlob), "ce013625030ba8dba906f756967f9e9ca394464a");
}

}  // namespace
}  // namespace cadre
