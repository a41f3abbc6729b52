#include "eval/program_checker.h"

#include <atomic>
#include <exception>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "eval/pass_at_k.h"

namespace cadre {
namespace {

// Runs the program and says what became of it in one line behind the word, which the program does
// not know.
constexpr char kDriver[] = R"(
import os, sys
def run(program):
    sys.stdout = sys.stderr = open(os.devnull, "w")
    try:
        exec(compile(program, "<program>", "exec"), {})
    except BaseException as error:
        return "failed: " + ": ".join(filter(None, (type(error).__name__, str(error).strip())))
    return "passed"
verdict = run(PROGRAM).splitlines()[0][:200]
os.write(1, ("\n" + "WORD" + " " + verdict + "\n").encode("utf-8", "replace"))
os._exit(0)
)";

// JSON's strings are Python's as long as characters stay as they are.
std::string PythonString(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string RandomWord() {
  std::random_device random;
  return fmt::format("verdict-{:08x}{:08x}", random(), random());
}

std::string DriverOf(const std::string& program, const std::string& word) {
  std::string driver = kDriver;
  driver.replace(driver.find("WORD"), 4, word);
  driver.replace(driver.find("PROGRAM"), 7, PythonString(program));
  return driver;
}

// The line behind the last of the words; empty: there is none.
std::string VerdictIn(const std::string& output, const std::string& word) {
  const size_t at = output.rfind("\n" + word + " ");
  if (at == std::string::npos) return "";
  const size_t begin = at + word.size() + 2;
  return Printable(output.substr(begin, output.find('\n', begin) - begin), 300);
}

std::string LimitText(ProgramEnd end) {
  switch (end) {
    case ProgramEnd::kWallTime:
    case ProgramEnd::kProcessor:
      return "timed out";
    case ProgramEnd::kMemory:
      return "too much memory";
    case ProgramEnd::kOutput:
      return "too much output";
    default:
      return "";
  }
}

}  // namespace

ProgramChecker::ProgramChecker(const ProgramCheckOptions& options)
    : options_(options), sandbox_(options.interpreter) {}

ProgramVerdict ProgramChecker::Check(const std::string& program) const {
  SandboxLimits limits;
  limits.processor_s = options_.timeout_s;
  limits.wall_s = 3 * options_.timeout_s;
  const std::string word = RandomWord();
  const ProgramOutcome outcome = sandbox_.Run(DriverOf(program, word), limits);
  // A verdict counts also where threads of the program were stopped after it.
  std::string verdict = LimitText(outcome.end);
  if (verdict.empty()) verdict = VerdictIn(outcome.output, word);
  if (verdict.empty()) verdict = fmt::format("failed: no verdict ({})", ToString(outcome));
  return {verdict == "passed", verdict};
}

std::vector<ProgramVerdict> ProgramChecker::CheckAll(
    const std::vector<std::string>& programs) const {
  std::vector<ProgramVerdict> verdicts(programs.size());
  std::vector<std::exception_ptr> errors(programs.size());
  std::atomic<size_t> next = 0;
  const auto check = [&] {
    for (size_t i; (i = next++) < programs.size();) {
      try {
        verdicts[i] = Check(programs[i]);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> threads;
    const size_t count = std::min<size_t>(programs.size(), std::thread::hardware_concurrency());
    for (size_t i = 1; i < count; ++i) threads.emplace_back(check);
    check();
  }
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return verdicts;
}

TextScore ScorePrograms(const Writing& writing, const EvalItem& item,
                        const std::vector<std::string>& texts, const ProgramChecker& checker) {
  TextScore score;
  for (const auto& text : texts) score.answers.push_back(writing.program(item, text));
  int64_t passed = 0;
  for (auto& verdict : checker.CheckAll(score.answers)) {
    passed += verdict.passed ? 1 : 0;
    score.results.push_back(std::move(verdict.result));
  }
  for (const int64_t k : {1, 10, 100}) {
    if (k <= std::ssize(texts))
      score.values.push_back({fmt::format("pass@{}", k), PassAtK(std::ssize(texts), passed, k)});
  }
  return score;
}

}  // namespace cadre
