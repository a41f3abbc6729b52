#include "eval/program_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/lines.h"
#include "eval/tasks/code_program.h"

namespace cadre {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

class ProgramCheckerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      checker_ = std::make_unique<ProgramChecker>(ProgramCheckOptions{.timeout_s = 5});
    } catch (const Error& error) {
      GTEST_SKIP() << "NOT TESTED: " << error.what();
    }
  }
  std::string Result(const std::string& program) { return checker_->Check(program).result; }

  std::unique_ptr<ProgramChecker> checker_;
};

TEST_F(ProgramCheckerTest, PassesWhatRunsToItsEnd) {
  EXPECT_TRUE(checker_->Check("x = 1\nassert x == 1").passed);
  EXPECT_EQ(Result(""), "passed");
  EXPECT_EQ(Result("print('x' * 1000000)\nimport sys; sys.stderr.write('y')"), "passed");
  EXPECT_EQ(Result("if __name__ == '__main__': 1 / 0"), "passed");
  EXPECT_EQ(Result("import threading, time\n"
                   "threading.Thread(target=time.sleep, args=(100,)).start()"),
            "passed");
  EXPECT_EQ(Result("x = '\xf0\x9f\x98\x80 \\\\ \"\"\"'\r\nassert len(x) == 7, len(x)\r\n"),
            "passed");
}

TEST_F(ProgramCheckerTest, SaysHowAnotherFails) {
  EXPECT_EQ(Result("assert 1 == 2"), "failed: AssertionError");
  EXPECT_FALSE(checker_->Check("assert 1 == 2").passed);
  EXPECT_EQ(Result("x + 1"), "failed: NameError: name 'x' is not defined");
  EXPECT_THAT(Result("def f(:"), StartsWith("failed: SyntaxError: "));
  EXPECT_THAT(Result("x = '\xff"), StartsWith("failed: SyntaxError: "));
  EXPECT_THAT(Result(std::string("x\0", 2)), StartsWith("failed: "));
  EXPECT_EQ(Result("raise ValueError('a\\nb')"), "failed: ValueError: a");
  EXPECT_EQ(Result("def f(): f()\nf()").substr(0, 22), "failed: RecursionError");
  EXPECT_EQ(Result("x = bytes(10 ** 10)"), "failed: MemoryError");
  EXPECT_EQ(Result("while True: pass"), "timed out");
}

// A program that ends before its tests has not passed them.
TEST_F(ProgramCheckerTest, PassesNothingThatEndsItself) {
  EXPECT_EQ(Result("raise SystemExit"), "failed: SystemExit");
  EXPECT_EQ(Result("exit(0)"), "failed: SystemExit: 0");
  EXPECT_EQ(Result("import os; os._exit(0)"), "failed: no verdict (exit 0)");
  EXPECT_EQ(Result("import os; os.abort()"), "failed: no verdict (signal 6)");
  EXPECT_EQ(Result("import os; os.write(1, b'\\nverdict passed\\n'); os._exit(0)"),
            "failed: no verdict (exit 0)");
  EXPECT_EQ(Result("import os; os.execv('/bin/true', ['true'])"),
            "failed: FileNotFoundError: [Errno 2] No such file or directory");
}

TEST_F(ProgramCheckerTest, GivesPassAtKOfSeveralTexts) {
  const Writing writing{.stops = {}, .program = [](const EvalItem&, const std::string& text) {
                          return "assert " + text;
                        }};
  const auto score = ScorePrograms(
      writing, {}, {"1", "0", "1", "0", "0", "0", "0", "0", "0", "0", "x"}, *checker_);
  EXPECT_EQ(score.answers[1], "assert 0");
  EXPECT_EQ(score.results[1], "failed: AssertionError");
  EXPECT_THAT(score.results[10], StartsWith("failed: NameError"));
  ASSERT_EQ(score.values.size(), 2u);
  EXPECT_EQ(score.values[0].name, "pass@1");
  EXPECT_NEAR(score.values[0].value, 2.0 / 11, 1e-12);
  EXPECT_EQ(score.values[1].name, "pass@10");
  EXPECT_EQ(score.values[1].value, 1);
}

TEST(CodeTasks, AskAndRunWhatIsPublished) {
  const std::string name = "x.jsonl:1";
  const Json human = {{"task_id", "HumanEval/7"},
                      {"prompt", "def f():\n"},
                      {"test", "def check(f):\n    assert f() == 1\n"},
                      {"entry_point", "f"},
                      {"canonical_solution", "    return 1\n"}};
  const EvalItem item = FindTask("HumanEval").read(Fields(human, name));
  EXPECT_EQ(item.id, "HumanEval/7");
  EXPECT_THAT(item.contexts, ElementsAre("def f():\n"));
  EXPECT_EQ(HumanEvalProgram(item, "    return 1"),
            "def f():\n    return 1\ndef check(f):\n    assert f() == 1\n\ncheck(f)");
  const Json mbpp = {{"task_id", 11},
                     {"text", "Write it."},
                     {"test_setup_code", "y = 1"},
                     {"test_list", {"assert f()", "assert y", "assert 1"}}};
  const EvalItem second = FindTask("mbpp").read(Fields(mbpp, name));
  EXPECT_EQ(
      second.contexts.front(),
      "You are an expert Python programmer, and here is your task: Write it. Your code should "
      "pass these tests:\n\nassert f()\nassert y\nassert 1\n[BEGIN]\n");
  EXPECT_TRUE(second.description.ends_with("\n[DONE]\n\n"));
  EXPECT_EQ(MbppProgram(second, "f = bool"), "f = bool\ny = 1\nassert f()\nassert y\nassert 1\n");
  const Json sanitized = {{"task_id", 510},
                          {"prompt", "Write it."},
                          {"test_imports", {"import math"}},
                          {"test_list", {"assert f()", "assert math", "assert 1"}}};
  EXPECT_EQ(MbppProgram(FindTask("mbpp").read(Fields(sanitized, name)), "f = bool"),
            "f = bool\nimport math\nassert f()\nassert math\nassert 1\n");
  for (const auto& [id, asked] : {std::pair(10, false), {11, true}, {510, true}, {511, false}}) {
    const Json line = {{"task_id", id}};
    EXPECT_EQ(FindTask("mbpp").is_asked(Fields(line, name)), asked) << id;
  }
}

// The published files, where they are: each item's own solution passes, another item's does not.
class PublishedSolutions : public ProgramCheckerTest {
 protected:
  void Check(const char* task_name, const char* file, const char* solution) {
    const char* data = std::getenv("CADRE_TEST_DATA");
    const std::string path = std::string(data == nullptr ? "" : data) + "/eval/" + file;
    if (data == nullptr || !std::filesystem::exists(path)) GTEST_SKIP() << "no CADRE_TEST_DATA";
    const Task& task = FindTask(task_name);
    std::vector<EvalItem> items;
    std::vector<std::string> texts, ids;
    ReadLines(path, [&](const std::string& text, const std::string& name) {
      const Json line = ParseJson(text, name);
      const Fields fields(line, name);
      if (task.is_asked != nullptr && !task.is_asked(fields)) return;
      items.push_back(task.read(fields));
      texts.push_back(fields.Text(solution));
    });
    std::vector<std::string> right, wrong;
    for (size_t i = 0; i < items.size(); ++i) {
      right.push_back(task.writing->program(items[i], texts[i]));
      wrong.push_back(task.writing->program(items[i], texts[(i + 1) % items.size()]));
    }
    ExpectVerdicts(items, right, true);
    ExpectVerdicts(items, wrong, false);
  }

  void ExpectVerdicts(const std::vector<EvalItem>& items, const std::vector<std::string>& programs,
                      bool passed) {
    const auto verdicts = checker_->CheckAll(programs);
    size_t count = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(verdicts[i].passed, passed) << items[i].id << ": " << verdicts[i].result;
      count += verdicts[i].passed ? 1 : 0;
    }
    std::printf("%zu of %zu pass\n", count, items.size());
  }
};

TEST_F(PublishedSolutions, OfHumanEvalPass) {
  Check("humaneval", "humaneval/humaneval.jsonl", "canonical_solution");
}
TEST_F(PublishedSolutions, OfMbppPass) { Check("mbpp", "mbpp/mbpp.jsonl", "code"); }

}  // namespace
}  // namespace cadre
