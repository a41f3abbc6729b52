// One item of a benchmark as a model is asked it: texts, before any tokenizer. What the texts are
// is the business of the task's reader (eval/tasks/task.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace cadre {

// Request i asks how likely continuations[i] is after contexts[i]; where there is one context, or
// one continuation, it is that of all requests. Where the model is to write, contexts[0] is what it
// goes on from, there are no continuations, and `answers` are what its text is compared with.
struct EvalItem {
  std::string id;     // the file's, or empty
  std::string group;  // its examples come from the same group: the subject of MMLU; else empty
  std::string description;  // stands before the examples
  std::vector<std::string> contexts;
  std::vector<std::string> continuations;  // with the delimiter before them
  std::vector<std::string> answers;        // [requests] the choices' texts; their lengths normalise
  int64_t gold = 0;                        // the right request
  std::string example;                     // question and right answer, as others are shown it

  // TruthfulQA; else empty. [requests], or [answers] where the model writes.
  std::vector<bool> is_true;
  std::vector<bool> in_mc1;
  std::vector<bool> in_mc2;

  // BBQ, with is_true: the answers that are right.
  std::vector<bool> is_biased;  // [requests] as the stereotype has it
  size_t num_named = 0;         // the first answers name a group, the others say it is unknown
  bool is_ambiguous = false;    // the context does not say who

  size_t num_requests() const { return std::max(contexts.size(), continuations.size()); }
  const std::string& context(size_t i) const { return contexts[contexts.size() == 1 ? 0 : i]; }
  const std::string& continuation(size_t i) const {
    return continuations[continuations.size() == 1 ? 0 : i];
  }
};

}  // namespace cadre
