// Any body to any endpoint: a request within its limits, or one error that is valid JSON with a 4xx
// status. The first byte chooses endpoint and model; the rest is the body.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/json.h"
#include "server/api_error.h"
#include "server/chat_request.h"
#include "server/completion_request.h"
#include "server/embeddings.h"
#include "server/moderation.h"
#include "server/request_json.h"
#include "server/tokenize_endpoint.h"
#include "small_vocabulary.h"

namespace {

constexpr int64_t kContext = 4096;

cadre::ApiConfig ConfigFor(unsigned choice) {
  static const cadre::Tokenizer tokenizer(SmallVocabulary(), "fuzz");
  static const cadre::ModelConfig model = [] {
    cadre::ModelConfig config;
    config.dim = 64;
    config.vocab_size = tokenizer.vocab_size();
    config.router = {.num_experts = 8, .top_k = 2};
    return config;
  }();
  cadre::ApiConfig config;
  config.model = &model;
  config.tokenizer = &tokenizer;
  config.model_id = "m";
  config.context_length = kContext;
  if (choice < 3) config.chat_version = static_cast<cadre::ChatVersion>(choice + 1);
  return config;
}

void CheckRequest(const cadre::AnswerOptions& options, const cadre::ApiConfig& config,
                  const std::vector<int32_t>& prompt) {
  const cadre::Request request = cadre::MakeRequest(options, config, prompt, 1);
  request.sampler.Validate();
  const auto size = static_cast<int64_t>(prompt.size());
  if (prompt.empty() || size > kContext || size + request.max_tokens > kContext) std::abort();
  if (request.min_tokens > request.max_tokens) std::abort();
}

void Ask(unsigned endpoint, const cadre::OrderedJson& body, const cadre::ApiConfig& config) {
  if (endpoint == 0) {
    const cadre::ChatRequest request = cadre::ParseChatRequest(body, config);
    CheckRequest(request.options, config, cadre::ChatPrompt(request, config));
  } else if (endpoint == 1) {
    const cadre::CompletionRequest request = cadre::ParseCompletionRequest(body, config);
    if (request.prompts.size() != request.prompt_texts.size()) std::abort();
    for (const auto& prompt : request.prompts) CheckRequest(request.options, config, prompt);
  } else if (endpoint == 2) {
    const cadre::FimRequest request = cadre::ParseFimRequest(body, config);
    CheckRequest(request.options, config, cadre::FimPrompt(request, config));
  } else if (endpoint == 3) {
    cadre::ParseEmbeddingRequest(body, config);
  } else if (endpoint == 4) {
    for (const std::string& text : cadre::ParseModerationRequest(body, config))
      cadre::ModerationPrompt(text, config);
  } else if (endpoint == 5) {
    cadre::Tokenize(body, config).dump();
  } else {
    cadre::Detokenize(body, config).dump();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const cadre::ApiConfig config = ConfigFor(data[0] / 7 % 4);
  try {
    const cadre::OrderedJson body =
        cadre::ParseRequestJson({reinterpret_cast<const char*>(data) + 1, size - 1});
    Ask(data[0] % 7, body, config);
  } catch (const cadre::ApiError& error) {
    if (error.status() < 400 || error.status() > 499) std::abort();
    if (!cadre::Json::accept(error.Body())) std::abort();
  }
  return 0;
}
