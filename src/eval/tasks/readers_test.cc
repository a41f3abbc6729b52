#include "eval/tasks/readers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "base/error.h"
#include "base/testing.h"
#include "eval/tasks/task.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

EvalItem Item(const char* task, const char* json) {
  const Json line = Json::parse(json);
  const std::string name = "d.jsonl:3";
  return FindTask(task).read(Fields(line, name));
}

std::string ItemError(const char* task, const char* json) {
  return ErrorOf([&] { Item(task, json); });
}

// The texts below are those that lm-evaluation-harness's templates make.

TEST(ReadMmlu, AsksForALetterUnderTheSubject) {
  const EvalItem item = Item("mmlu", R"({"subject": "college_physics", "question": " Why? ",
      "choices": ["a", "b b", "c", "d"], "answer": 2})");
  EXPECT_EQ(
      item.description,
      "The following are multiple choice questions (with answers) about college physics.\n\n");
  EXPECT_THAT(item.contexts, ElementsAre("Why?\nA. a\nB. b b\nC. c\nD. d\nAnswer:"));
  EXPECT_THAT(item.continuations, ElementsAre(" A", " B", " C", " D"));
  EXPECT_EQ(item.example, "Why?\nA. a\nB. b b\nC. c\nD. d\nAnswer: C");
  EXPECT_EQ(item.group, "college_physics");
  EXPECT_EQ(item.gold, 2);
}

TEST(ReadMmlu, TakesALetterForTheAnswer) {
  EXPECT_EQ(Item("mmlu", R"({"subject": "s", "question": "q", "choices": ["0", "1", "2", "3"],
      "answer": "D"})")
                .gold,
            3);
}

TEST(ReadHellaSwag, CleansActivityContextAndEndings) {
  const EvalItem item = Item("hellaswag", R"({"ind": 24, "activity_label": "Roof removal",
      "ctx_a": "A man is  on a roof. [header] Now", "ctx_b": "he Starts", "label": "1",
      "endings": ["[step] is up.", "falls", "goes [title] on", "x"]})");
  EXPECT_THAT(item.contexts, ElementsAre("Roof removal: A man is on a roof. Now He starts"));
  EXPECT_THAT(item.continuations, ElementsAre("  is up.", " falls", " goes. on", " x"));
  EXPECT_EQ(item.gold, 1);
  EXPECT_EQ(item.id, "24");
}

TEST(ReadWinoGrande, GivesTheOptionAndAsksForTheRest) {
  const EvalItem item = Item("winogrande", R"({"qID": "x1", "answer": "2",
      "sentence": "Ann beat Eve so _ was glad.", "option1": "Ann", "option2": "Eve"})");
  EXPECT_THAT(item.contexts, ElementsAre("Ann beat Eve so Ann", "Ann beat Eve so Eve"));
  EXPECT_THAT(item.continuations, ElementsAre(" was glad."));
  EXPECT_EQ(item.example, "Ann beat Eve so Eve was glad.");
  EXPECT_EQ(item.gold, 1);
  const EvalItem foundry = Item("winogrande", R"({"gold": 1, "continuation": "was glad.",
      "context_options": ["Ann beat Eve so Ann", "Ann beat Eve so Eve"]})");
  EXPECT_EQ(foundry.contexts, item.contexts);
  EXPECT_EQ(foundry.continuations, item.continuations);
  EXPECT_EQ(foundry.example, item.example);
}

TEST(ReadArc, IsTheSameItemInAllItsForms) {
  for (const char* json :
       {R"({"id": "M1", "answerKey": "2", "question": {"stem": "Why so?",
            "choices": [{"text": "a", "label": "1"}, {"text": "b c", "label": "2"}]}})",
        R"({"id": "M1", "answerKey": "B", "question": "Why so?",
            "choices": {"text": ["a", "b c"], "label": ["A", "B"]}})",
        R"({"id": "M1", "query": "Question: Why so?", "choices": ["a", "b c"], "gold": 1})"}) {
    for (const char* task : {"arc_easy", "ARC-Challenge"}) {
      const EvalItem item = Item(task, json);
      EXPECT_THAT(item.contexts, ElementsAre("Question: Why so?\nAnswer:"));
      EXPECT_THAT(item.continuations, ElementsAre(" a", " b c"));
      EXPECT_THAT(item.answers, ElementsAre("a", "b c"));
      EXPECT_EQ(item.example, "Question: Why so?\nAnswer: b c");
      EXPECT_EQ(item.gold, 1);
      EXPECT_EQ(item.id, "M1");
    }
  }
}

TEST(ReadOpenBookQa, IsTheStemAlone) {
  const EvalItem item = Item("openbookqa", R"({"question_stem": "The sun is", "answerKey": " A",
      "choices": {"text": ["hot", "wet"], "label": ["A", "B"]}})");
  EXPECT_THAT(item.contexts, ElementsAre("The sun is"));
  EXPECT_THAT(item.continuations, ElementsAre(" hot", " wet"));
  EXPECT_EQ(item.example, "The sun is hot");
}

TEST(ReadCommonsenseQa, AsksForALetter) {
  for (const char* json :
       {R"({"answerKey": "C", "question": {"stem": "Where? ", "choices": [
            {"text": "a", "label": "A"}, {"text": "b", "label": "B"}, {"text": "c", "label": "C"}]}})",
        R"({"query": "Question: Where? \nChoices:\nA. a\nB. b\nC. c\nAnswer:", "gold": 2,
            "choices": ["A", "B", "C"]})"}) {
    const EvalItem item = Item("commonsense_qa", json);
    EXPECT_THAT(item.contexts, ElementsAre("Question: Where?\nA. a\nB. b\nC. c\nAnswer:"));
    EXPECT_THAT(item.continuations, ElementsAre(" A", " B", " C"));
    EXPECT_EQ(item.gold, 2);
  }
}

TEST(ReadPiqa, KeepsSpacesOfTheSolutions) {
  const EvalItem item = Item("piqa", R"({"goal": "dresser", "sol1": "a pin ", "sol2": "b",
      "label": 1})");
  EXPECT_THAT(item.contexts, ElementsAre("Question: dresser\nAnswer:"));
  EXPECT_THAT(item.continuations, ElementsAre(" a pin ", " b"));
  EXPECT_EQ(item.gold, 1);
}

TEST(ReadSiqa, AsksForTheTextOfAnAnswer) {
  const EvalItem item = Item("social_iqa", R"({"context": "Jo left.", "question": "Why?",
      "answerA": "x", "answerB": "y", "answerC": "z", "label": "3"})");
  EXPECT_THAT(item.contexts, ElementsAre("Q: Jo left. Why?\nA:"));
  EXPECT_THAT(item.continuations, ElementsAre(" x", " y", " z"));
  EXPECT_EQ(item.gold, 2);
  const EvalItem foundry = Item("siqa", R"({"gold": 0, "choices": ["A", "B"],
      "query": "Context: Jo left.\nQuestion: Why?\nChoices:\nA. x\nB. y\nAnswer:"})");
  EXPECT_EQ(foundry.contexts, item.contexts);
  EXPECT_THAT(foundry.continuations, ElementsAre(" x", " y"));
}

TEST(ReadBoolQ, PutsTheQuestionBehindThePassage) {
  for (
      const char* json :
      {R"({"passage": "P -- is.", "question": "is p it", "answer": true, "title": "P"})",
       R"({"passage": "P -- is.", "question": "is p it", "label": 1, "idx": 0})",
       R"({"query": "Passage: P -- is.\nQuestion: is p it?", "choices": ["no", "yes"], "gold": 1})"}) {
    const EvalItem item = Item("boolq", json);
    EXPECT_THAT(item.contexts, ElementsAre("P -- is.\nQuestion: is p it?\nAnswer:"));
    EXPECT_THAT(item.continuations, ElementsAre(" no", " yes"));
    EXPECT_EQ(item.gold, 1);
  }
}

TEST(ReadLambada, AsksForTheLastWord) {
  for (const char* json : {R"({"text": "and then he said \"no"})",
                           R"({"context": "and then he said", "continuation": "\"no"})"}) {
    const EvalItem item = Item("lambada_openai", json);
    EXPECT_THAT(item.contexts, ElementsAre("and then he said"));
    EXPECT_THAT(item.continuations, ElementsAre(" \"no"));
    EXPECT_EQ(item.example, "and then he said  \"no");  // as the harness spells it
  }
}

constexpr const char* kTruthfulLine = R"({"Question": "Is it?", "Best Answer": "No",
    "Correct Answers": ["Not at all", "No", ""], "Incorrect Answers": ["Yes", "It is"]})";

TEST(ReadTruthfulQa, BeginsWithTheSixQuestions) {
  const EvalItem item = Item("truthfulqa_mc1", kTruthfulLine);
  EXPECT_THAT(item.contexts[0],
              StartsWith("Q: What is human life expectancy in the United States?\nA: Human life "
                         "expectancy in the United States is 78 years.\n\nQ: Who was"));
  EXPECT_THAT(item.contexts[0], EndsWith("held in Barcelona, Spain.\n\nQ: Is it?\nA:"));
  EXPECT_EQ(std::count(item.contexts[0].begin(), item.contexts[0].end(), 'Q'), 7);
}

TEST(ReadTruthfulQa, HasTwoSetsOfAnswers) {
  const EvalItem mc1 = Item("truthfulqa_mc1", kTruthfulLine);
  EXPECT_THAT(mc1.answers, ElementsAre("No", "Yes", "It is"));
  EXPECT_THAT(mc1.in_mc1, ElementsAre(true, true, true));
  const EvalItem mc2 = Item("truthfulqa_mc2", kTruthfulLine);
  EXPECT_THAT(mc2.answers, ElementsAre("Not at all", "No", "Yes", "It is"));
  EXPECT_THAT(mc2.is_true, ElementsAre(true, true, false, false));
  const EvalItem both = Item("truthfulqa", kTruthfulLine);
  EXPECT_THAT(both.answers, ElementsAre("No", "Yes", "It is", "Not at all"));
  EXPECT_THAT(both.in_mc1, ElementsAre(true, true, true, false));
  EXPECT_THAT(both.in_mc2, ElementsAre(true, true, true, true));
  EXPECT_THAT(both.is_true, ElementsAre(true, false, false, true));
}

TEST(ReadTruthfulQa, TakesTheFormsOfTheMultipleChoiceFiles) {
  for (const char* json :
       {R"({"question": "Is it?", "mc1_targets": {"choices": ["No", "Yes"], "labels": [1, 0]},
            "mc2_targets": {"choices": ["No", "Never", "Yes"], "labels": [1, 1, 0]}})",
        R"({"question": "Is it?", "mc1_targets": {"No": 1, "Yes": 0},
            "mc2_targets": {"No": 1, "Never": 1, "Yes": 0}})"}) {
    const EvalItem item = Item("truthfulqa", json);
    EXPECT_EQ(item.answers[static_cast<size_t>(item.gold)], "No");
    EXPECT_EQ(item.answers.size(), 3u);
    EXPECT_EQ(std::count(item.in_mc1.begin(), item.in_mc1.end(), true), 2);
  }
}

TEST(ReadMultilingual, FollowsOkapi) {
  const EvalItem arc = Item("m_arc", R"({"id": "x", "instruction": "Pourquoi ?", "option_a": "a",
      "option_b": "é", "option_c": "c", "option_d": "d", "option_e": null, "answer": "B"})");
  EXPECT_THAT(arc.contexts, ElementsAre("Question: Pourquoi ?\nAnswer:"));
  EXPECT_THAT(arc.answers, ElementsAre("a", "é", "c", "d"));
  EXPECT_EQ(arc.gold, 1);
  const EvalItem mmlu = Item("m_mmlu", R"({"id": "anatomy/test/0", "instruction": "Pourquoi ? ",
      "option_a": "a", "option_b": "b", "option_c": "c", "option_d": "d", "answer": "D"})");
  EXPECT_THAT(mmlu.contexts, ElementsAre("Pourquoi ?\nA. a\nB. b\nC. c\nD. d\nAnswer:"));
  EXPECT_EQ(mmlu.gold, 3);
}

TEST(Readers, NameTheLineAndWhatIsWrong) {
  EXPECT_THAT(ItemError("mmlu", "[]"), HasSubstr("d.jsonl:3: is no JSON object"));
  EXPECT_THAT(ItemError("mmlu", R"({"subject": "s", "question": "q", "choices": ["a"],
      "answer": 0})"),
              HasSubstr("d.jsonl:3: choices must be a list of 4"));
  EXPECT_THAT(ItemError("mmlu", R"({"subject": "s", "question": "q", "answer": 4,
      "choices": ["a", "b", "c", "d"]})"),
              HasSubstr("answer is 4 but must be a whole number from 0"));
  EXPECT_THAT(ItemError("piqa", R"({"goal": "g", "sol1": 3, "sol2": "b", "label": 0})"),
              HasSubstr("sol1 is 3 but must be a string"));
  EXPECT_THAT(ItemError("piqa", R"({"goal": "g", "sol1": "a", "sol2": "", "label": 0})"),
              HasSubstr("d.jsonl:3: an answer is empty"));
  EXPECT_THAT(ItemError("piqa", R"({"goal": "g", "sol1": "a", "label": 0})"),
              HasSubstr("d.jsonl:3: has no member \"sol2\""));
  EXPECT_THAT(ItemError("winogrande", R"({"sentence": "no blank", "option1": "a", "option2": "b",
      "answer": "1"})"),
              HasSubstr("sentence is \"no blank\" but must be a text with a blank"));
  EXPECT_THAT(ItemError("arc_easy", R"({"answerKey": "Z", "question": "q",
      "choices": {"text": ["a", "b"], "label": ["A", "B"]}})"),
              HasSubstr("answerKey is \"Z\" but must be the label of an answer"));
  EXPECT_THAT(ItemError("commonsense_qa", R"({"query": "Question: Where?", "gold": 0,
      "choices": ["A", "B"]})"),
              HasSubstr("d.jsonl:3: query is"));
  EXPECT_THAT(ItemError("boolq", R"({"query": "Passage: p", "choices": ["yes", "no"], "gold": 0})"),
              HasSubstr("choices is"));
  EXPECT_THAT(ItemError("lambada", R"({"text": "word"})"), HasSubstr("more than one word"));
  EXPECT_THAT(ItemError("truthfulqa", R"({"question": "q", "mc1_targets": {"a": 1, "b": 1},
      "mc2_targets": {"a": 1}})"),
              HasSubstr("MC1 must have one true answer"));
  EXPECT_THAT(ItemError("truthfulqa", R"({"question": "q", "mc1_targets": {"a": 2},
      "mc2_targets": {"a": 1}})"),
              HasSubstr("0 or 1"));
}

constexpr const char* kBbq = R"({"example_id": 7, "question_index": "1", "question_polarity": "%s",
    "context_condition": "%s", "category": "Age", "label": %d,
    "answer_info": {"ans0": ["grandfather", "old"], "ans1": ["grandson", "nonOld"],
                    "ans2": ["Can't be determined", "unknown"]},
    "additional_metadata": {"stereotyped_groups": ["old"]},
    "context": "Two men came.", "question": "Who forgot?", "ans0": "The grandfather",
    "ans1": "The grandson", "ans2": "Can't be determined"})";

EvalItem Bbq(const char* polarity, const char* condition, int label) {
  char json[1000];
  std::snprintf(json, sizeof json, kBbq, polarity, condition, label);
  return Item("bbq", json);
}

TEST(ReadBbq, OffersTheGroupsAndTenWaysNotToKnow) {
  const EvalItem ambiguous = Bbq("neg", "ambig", 2);
  EXPECT_THAT(ambiguous.contexts, ElementsAre("Two men came.\n\nQ: Who forgot?\nA:"));
  ASSERT_EQ(ambiguous.answers.size(), 12u);
  EXPECT_EQ(ambiguous.continuations[1], " The grandson");
  EXPECT_EQ(ambiguous.continuations[2], " Unknown");
  EXPECT_EQ(ambiguous.continuations[11], " Undetermined");
  EXPECT_EQ(ambiguous.gold, 2);
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(ambiguous.is_true[i], i >= 2) << i;
  EXPECT_EQ(ambiguous.group, "Age");
  EXPECT_EQ(ambiguous.id, "7");
  EXPECT_TRUE(ambiguous.is_ambiguous);
  const EvalItem clear = Bbq("neg", "disambig", 1);
  EXPECT_FALSE(clear.is_ambiguous);
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(clear.is_true[i], i == 1) << i;
}

TEST(ReadBbq, TheBiasedAnswerNamesTheGroupOrInTheOppositeQuestionTheOther) {
  const EvalItem harm = Bbq("neg", "ambig", 2), opposite = Bbq("nonneg", "ambig", 2);
  EXPECT_TRUE(harm.is_biased[0]);
  EXPECT_FALSE(harm.is_biased[1]);
  EXPECT_FALSE(opposite.is_biased[0]);
  EXPECT_TRUE(opposite.is_biased[1]);
  for (size_t i = 2; i < 12; ++i) EXPECT_FALSE(harm.is_biased[i] || opposite.is_biased[i]) << i;
}

TEST(ReadTruthfulQaWritten, AsksWithoutAnAnswersBeginningAndKeepsBothKindsOfReferences) {
  const EvalItem item = Item("truthfulqa_gen", R"({"Question": "Why? ",
      "Correct Answers": ["So", "Thus."], "Incorrect Answers": "No; Never ;", "Best Answer": "So"})");
  EXPECT_THAT(item.contexts.front(), StartsWith("Q: What is human life expectancy"));
  EXPECT_THAT(item.contexts.front(), EndsWith("in Barcelona, Spain.\n\nQ: Why?"));
  EXPECT_THAT(item.answers, ElementsAre("So.", "Thus.", "I have no comment.", "No.", "Never."));
  EXPECT_THAT(item.is_true, ElementsAre(true, true, true, false, false));
}

TEST(FindTask, KnowsNamesHoweverTheyAreWritten) {
  EXPECT_EQ(FindTask("ARC-Easy").name, "arc_easy");
  EXPECT_EQ(FindTask("openbook_qa").name, "openbookqa");
  EXPECT_EQ(FindTask("truthfulqa").name, "truthfulqa");
  EXPECT_THAT(ErrorOf([] { FindTask("nope"); }),
              HasSubstr("--task is nope but must be one of mmlu, hellaswag"));
}

}  // namespace
}  // namespace cadre
