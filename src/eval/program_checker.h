// Whether programs that a model wrote pass the tests that stand at their ends: each is run once, in
// the sandbox. As in OpenAI's human-eval a program passes when it runs to its end without an
// exception, in a namespace that is not "__main__", and what it prints is dropped; one that ends
// itself (exit, os._exit) has not passed.
#pragma once

#include <string>
#include <vector>

#include "eval/tasks/task.h"
#include "sandbox/sandbox.h"

namespace cadre {

struct ProgramCheckOptions {
  std::string interpreter = "python3";
  int timeout_s = 3;  // of processor time; three times as much by the clock
};

struct ProgramVerdict {
  bool passed = false;
  // "passed", "failed: NameError: name 'x' is not defined", "failed: no verdict (exit 0)", "timed
  // out", "too much memory", "too much output".
  std::string result;
};

// Any number of threads may use one.
class ProgramChecker {
 public:
  // Throws Error where programs cannot be run.
  explicit ProgramChecker(const ProgramCheckOptions& options);

  const ProgramCheckOptions& options() const { return options_; }

  ProgramVerdict Check(const std::string& program) const;
  // Several at a time.
  std::vector<ProgramVerdict> CheckAll(const std::vector<std::string>& programs) const;

 private:
  ProgramCheckOptions options_;
  Sandbox sandbox_;
};

// pass@1, pass@10 and pass@100, as far as there are texts. `writing` makes programs. Their answers
// are the programs, their results the verdicts.
TextScore ScorePrograms(const Writing& writing, const EvalItem& item,
                        const std::vector<std::string>& texts, const ProgramChecker& checker);

}  // namespace cadre
