// What a judge of MT-Bench is asked, and what it says (Zheng et al., arXiv 2306.05685; the prompts
// are FastChat's single-v1, single-math-v1 and their forms for two turns).
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace cadre {

struct JudgePrompt {
  std::string system;
  std::string user;
};

// Of the first turn, or of both with two answers. `references`: as many answers to compare with, or
// none.
JudgePrompt MakeJudgePrompt(const std::vector<std::string>& questions,
                            const std::vector<std::string>& answers,
                            const std::vector<std::string>& references);

// The first number in "[[...]]", else in "[...]". None: the judge gave no rating.
std::optional<double> ParseRating(const std::string& judgment);

}  // namespace cadre
