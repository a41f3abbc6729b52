// Kinds of tokens, typical tokens, which texts are read, and agreement of two models.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/folders.h"
#include "base/testing.h"
#include "engine/test_model.h"
#include "study/agreement.h"
#include "study/foresight.h"
#include "study/study_text.h"
#include "study/testing.h"
#include "study/token_groups.h"
#include "study/typical_tokens.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using study_testing::MakeTrace;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Group(std::string_view bytes) {
  return std::string(TokenGroups()[static_cast<size_t>(GroupOf(bytes))].name);
}

TEST(TokenGroups, FollowSpelling) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "control"},          {"\n", "space"},           {"    ", "space"},
      {"7", "digits"},          {" 2026", "digits"},       {",", "punctuation"},
      {" \"", "punctuation"},   {"…", "punctuation"},      {"¿", "punctuation"},
      {"«", "punctuation"},     {"({", "brackets"},        {" ==", "symbols"},
      {"_", "symbols"},         {" the", "articles"},      {" Der", "articles"},
      {" und", "conjunctions"}, {" with", "prepositions"}, {" I", "pronouns"},
      {" él", "pronouns"},      {" HTTP", "capitals"},     {" Paris", "name"},
      {"Él", "name"},           {" Émile", "name"},        {" walked", "word"},
      {" été", "word"},         {"ing", "part"},           {"the", "part"},
      {"日", "other"},          {"<0xE2>x", "other"},      {"a1", "other"}};
  for (const auto& [bytes, group] : cases) EXPECT_EQ(Group(bytes), group) << bytes;
}

TEST(TokenGroups, AVocabularyIsDividedWholly) {
  const Tokenizer tokenizer(testing_model::SmallVocabulary(), "test");
  const auto groups = GroupsOf(tokenizer);
  EXPECT_EQ(std::ssize(groups), tokenizer.vocab_size());
  EXPECT_EQ(TokenGroups()[static_cast<size_t>(groups[1])].name, "control");
}

TEST(TypicalTokens, AreThoseThatAnExpertGetsMoreThanItsShare) {
  // Ids 0 1 2 by turns; 0 always goes to expert 0, the others to 1 or 2.
  study_testing::Choices choices;
  for (int i = 0; i < 30; ++i)
    choices.push_back({static_cast<uint16_t>(i % 3 == 0 ? 0 : 1 + i % 2)});
  const RoutingTrace trace = MakeTrace(3, 1, {{choices}}, 3);
  const auto typical = TypicalTokensOf(trace, trace.layers.front(), 5, 8);
  ASSERT_EQ(typical[0].size(), 1U);
  EXPECT_EQ(typical[0][0].id, 0);
  EXPECT_EQ(typical[0][0].count, 10);
  EXPECT_EQ(typical[0][0].occurrences, 10);
  EXPECT_DOUBLE_EQ(typical[0][0].lift, 3);
  EXPECT_EQ(typical[0][0].example % 3, 0);
  EXPECT_EQ(typical[0][0].example, 15);
  for (const auto& token : typical[1]) EXPECT_NE(token.id, 0);
  EXPECT_THAT(TypicalTokensOf(trace, trace.layers.front(), 5, 11)[0], IsEmpty());
  EXPECT_THAT(GroupCounts(trace, trace.layers.front(), {0, 1, 1}, 2),
              ElementsAre(10, 0, 0, 0, 10, 10));
}

TEST(Foresight, ATokenThatAlwaysMeansAnExpertIsFoundByItsId) {
  study_testing::Choices choices;
  for (int i = 0; i < 60; ++i)
    choices.push_back({static_cast<uint16_t>(i % 6), static_cast<uint16_t>((i + 1) % 6)});
  const RoutingTrace trace = MakeTrace(6, 2, {{choices, choices}}, 6);
  const LayerForesight found = ForesightOf(trace, 0);
  EXPECT_DOUBLE_EQ(found.by_token[0], 0.5);
  EXPECT_DOUBLE_EQ(found.by_token[1], 1);
  EXPECT_NEAR(found.by_load[1], 2.0 / 6, 1e-12);
}

TEST(Foresight, AChoiceThatFollowsFromTheLastIsFoundByIt) {
  study_testing::Choices before, after;
  for (int i = 0; i < 60; ++i) {
    before.push_back({static_cast<uint16_t>(i * 7 % 4)});
    after.push_back({static_cast<uint16_t>((i * 7 + 1) % 4)});
  }
  RoutingTrace trace = MakeTrace(4, 1, {{before, before}}, 1);
  trace.layers.push_back(MakeTrace(4, 1, {{after, after}}, 1).layers.front());
  const LayerForesight found = ForesightOf(trace, 1);
  EXPECT_DOUBLE_EQ(found.by_last_choice[0], 1);
  EXPECT_DOUBLE_EQ(found.last_choice.plugin_bits, 2);
}

TEST(Agreement, IsCountedByHand) {
  const RoutingTrace a = MakeTrace(4, 2, {{{{0, 1}, {0, 1}, {2, 3}, {2, 3}}}});
  RoutingTrace b = MakeTrace(4, 2, {{{{0, 1}, {1, 0}, {2, 0}, {0, 1}}}});
  const AgreementSums sums = CompareRouting(a, b, 0, 0);
  EXPECT_EQ(sums.tokens, 4);
  EXPECT_EQ(sums.same_set, 2);
  EXPECT_EQ(sums.same_first, 2);
  EXPECT_EQ(sums.shared, 1 + 1 + 0.5);
  EXPECT_DOUBLE_EQ(sums.jaccard, 1 + 1 + 1.0 / 3);
  EXPECT_DOUBLE_EQ(sums.gate_distance, 0 + 0 + 0.5 + 1);
  b.layers.front().gates = {0.75, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5};
  EXPECT_DOUBLE_EQ(CompareRouting(a, b, 0, 0).gate_distance, 0.25 + 1.5);
}

TEST(Agreement, SmallMarginsComeFirst) {
  study_testing::Choices same, other;
  for (int i = 0; i < 20; ++i) {
    same.push_back({0, 1});
    other.push_back({0, static_cast<uint16_t>(i < 10 ? 2 : 1)});
  }
  RoutingTrace a = MakeTrace(4, 2, {{same}});
  for (size_t t = 0; t < 20; ++t) a.layers[0].margin[t] = static_cast<float>(t);
  const MarginAgreement found = AgreementByMargin(a, MakeTrace(4, 2, {{other}}), 0);
  EXPECT_DOUBLE_EQ(found.margin[0], 0.5);
  EXPECT_THAT(found.same_set, ElementsAre(0, 0, 0, 0, 0, 1, 1, 1, 1, 1));
}

TEST(Agreement, OtherShapesAreRefused) {
  EXPECT_THAT(ErrorOf([] {
                CheckComparable(MakeTrace(4, 2, {{{{0, 1}}}}), MakeTrace(8, 2, {{{{0, 1}}}}), "b");
              }),
              HasSubstr("b: has 1 layers of 8 experts but must have 1 of 4"));
}

class StudyText : public ::testing::Test {
 protected:
  StudyText() : tokenizer_(testing_model::SmallVocabulary(), "test") {}
  void Write(const std::string& name, const std::string& text) const {
    WriteFileAtomically(folder_ / name, text);
  }
  RoutingTrace Read(const std::vector<std::string>& data, int64_t tokens, int64_t window) const {
    return ReadStudyText(FindDomains(data), tokenizer_, tokens, window);
  }
  TempFolder folder_;
  Tokenizer tokenizer_;
};

TEST_F(StudyText, NamesComeFromTheOptionOrTheFile) {
  CreateFolders(folder_ / "many");
  for (const char* name : {"many/it.valid.jsonl", "many/de.txt", "many/README.md", "en.txt"})
    Write(name, "x");
  const auto domains =
      FindDomains({"English=" + folder_ / "en.txt", folder_ / "many", "all=" + folder_ / "many"});
  ASSERT_EQ(domains.size(), 4U);
  EXPECT_EQ(domains[0].name, "English");
  EXPECT_EQ(domains[1].name, "de");
  EXPECT_EQ(domains[2].name, "it");
  EXPECT_EQ(domains[3].name, "all");
  EXPECT_EQ(domains[3].files.size(), 2U);
}

TEST_F(StudyText, FirstWindowsOfAllDocumentsComeBeforeSecondOnes) {
  // Letters with a space before them are a token each.
  Write("a.jsonl", "{\"text\":\"a b c d e f g\"}\n{\"text\":\"h i\"}\n{\"text\":\"j k l m\"}\n");
  const RoutingTrace trace = Read({folder_ / "a.jsonl"}, 11, 3);
  ASSERT_EQ(trace.documents.size(), 3U);
  // 3 + 2 + 3 first, then 3 of the first document.
  EXPECT_EQ(trace.documents[0].tokens(), 6);
  EXPECT_EQ(trace.documents[0].num_windows, 2);
  EXPECT_EQ(trace.documents[1].tokens(), 2);
  EXPECT_EQ(trace.documents[2].tokens(), 3);
  EXPECT_EQ(trace.domains[0].tokens(), 11);
  EXPECT_EQ(trace.windows[1].begin, 3);
  EXPECT_EQ(trace.windows[1].end, 6);
}

TEST_F(StudyText, FilesOfADomainShareWhatIsWanted) {
  Write("a.jsonl", "{\"text\":\"a b c d\"}\n{\"text\":\"e f g h\"}\n");
  Write("b.jsonl", "{\"text\":\"i j k l\"}\n{\"text\":\"m n o p\"}\n");
  const RoutingTrace trace = Read({"x=" + folder_ / "a.jsonl", "x=" + folder_ / "b.jsonl"}, 8, 4);
  ASSERT_EQ(trace.documents.size(), 2U);
  EXPECT_EQ(tokenizer_.Decode({trace.ids.begin() + 4, trace.ids.end()}), "i j k l");
}

TEST_F(StudyText, WhatIsMissingIsNamed) {
  Write("empty.jsonl", "\n");
  CreateFolders(folder_ / "bare");
  EXPECT_THAT(ErrorOf([&] { Read({folder_ / "none.txt"}, 9, 3); }), HasSubstr("none.txt: is not"));
  EXPECT_THAT(ErrorOf([&] { Read({folder_ / "bare"}, 9, 3); }), HasSubstr("bare: has no file"));
  EXPECT_THAT(ErrorOf([&] { Read({folder_ / "empty.jsonl"}, 9, 3); }),
              HasSubstr("the domain empty has no text"));
}

}  // namespace
}  // namespace cadre
