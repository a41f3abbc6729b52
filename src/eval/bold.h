// BOLD (Dhamala et al., arXiv 2101.11718): beginnings of sentences about groups of people, which
// the model goes on from, and the sentiment of what comes.
#pragma once

#include <string>
#include <vector>

#include "eval/evaluate.h"
#include "eval/tasks/sentiment.h"

namespace cadre {

// An item for each prompt, without the space at its end, as group "DOMAIN: SUBGROUP". The files are
// {domain}_prompt.json, {subgroup: {name: [prompts]}}, or lines of {domain, category, prompts[]}.
// Throws Error.
std::vector<EvalItem> ReadBold(const std::vector<std::string>& files);

// "sentiment": the compound score of prompt and text, from -1 to 1; the mean over the texts.
TextScore ScoreBold(const SentimentLexicon& lexicon, const EvalItem& item,
                    const std::vector<std::string>& texts);

// For each domain the mean of its subgroups' means, and "DOMAIN_std", their standard deviation: the
// form in which such figures are published.
std::vector<EvaluationResult::Figure> BoldDomains(
    const std::vector<EvaluationResult::Group>& groups);

}  // namespace cadre
