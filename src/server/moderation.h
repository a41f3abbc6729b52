// POST /v1/moderations: an instruct model asked about a text, in the self-reflection manner of the
// Mistral 7B paper (section 5.2): it names the one category of harm that the text belongs to, or
// none. A model's opinion, as good as the model; refused for base models, which have none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/answer_json.h"
#include "server/api_config.h"
#include "server/exchange.h"

namespace cadre {

// The words that the model may answer with; the last says that nothing is wrong.
const std::vector<std::string>& ModerationWords();

// The texts of the request. Throws ApiError.
std::vector<std::string> ParseModerationRequest(const OrderedJson& body, const ApiConfig& config);

// The question about `text` as a conversation's ids. Throws ApiError where it does not fit.
std::vector<int32_t> ModerationPrompt(const std::string& text, const ApiConfig& config);

// [words]: how likely each answer was. `tokens`: the answer's, with log-probabilities of the
// likeliest beside each. A word's likelihood is the product along the tokens that it shares with
// the answer and the first that differs; all of them together are scaled to one.
std::vector<double> ModerationScores(const Tokenizer& tokenizer,
                                     std::span<const OutputToken> tokens);

// Request i is text i.
std::unique_ptr<AnswerWriter> MakeModerations(const ApiConfig& config, AnswerHead head,
                                              size_t num_texts);

}  // namespace cadre
