#include "server/api.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "server/api_error.h"
#include "server/chat_answers.h"
#include "server/chat_request.h"
#include "server/completion_answers.h"
#include "server/completion_request.h"
#include "server/embeddings.h"
#include "server/models_endpoint.h"
#include "server/moderation.h"
#include "server/openapi.h"
#include "server/request_json.h"
#include "server/tokenize_endpoint.h"

namespace cadre {
namespace {

constexpr int kParsingThreads = 2;
constexpr std::string_view kModelPath = "/v1/models/";

constexpr ApiRoute kRoutes[] = {
    {"POST", "/v1/chat/completions"},
    {"POST", "/v1/completions"},
    {"POST", "/v1/fim/completions"},
    {"POST", "/v1/embeddings"},
    {"POST", "/v1/moderations"},
    {"GET", "/v1/models"},
    {"GET", "/v1/models/{id}"},
    {"POST", "/tokenize"},
    {"POST", "/detokenize"},
    {"POST", "/v1/tokenize"},
    {"POST", "/v1/detokenize"},
    {"GET", "/health"},
    {"GET", "/metrics"},
    {"GET", "/openapi.json"},
};

bool Matches(const ApiRoute& route, std::string_view path) {
  const std::string_view pattern = route.path;
  const size_t variable = pattern.find('{');
  if (variable == std::string_view::npos) return path == pattern;
  return path.size() > variable && path.starts_with(pattern.substr(0, variable));
}

RoutingDetail DetailOf(const AnswerOptions& options) {
  if (!options.routing) return RoutingDetail::kNone;
  return options.prompt_routing ? RoutingDetail::kAll : RoutingDetail::kAnswer;
}

int64_t Now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

// The one of `routes` for this path and method; throws the 404 or 405 where there is none.
const ApiRoute& FindRoute(const HttpRequest& request) {
  const std::string& method = request.method == "HEAD" ? "GET" : request.method;
  bool path_known = false;
  for (const ApiRoute& route : kRoutes) {
    if (!Matches(route, request.path)) continue;
    path_known = true;
    if (method == route.method) return route;
  }
  if (path_known) {
    throw ApiError(
        405, fmt::format("{} is not answered with {}", request.path, Printable(request.method)), "",
        "method_not_allowed");
  }
  throw ApiError(404, fmt::format("there is nothing at {}", Printable(request.path)), "",
                 "unknown_url");
}

std::string AllowedMethods(std::string_view path) {
  std::string allowed;
  for (const ApiRoute& route : kRoutes) {
    if (!Matches(route, path)) continue;
    allowed += std::string_view(route.method) == "GET" ? "GET, HEAD, " : "POST, ";
  }
  return allowed + "OPTIONS";
}

ApiConfig WithContext(ApiConfig config, const Engine& engine) {
  config.context_length = engine.context_length();
  return config;
}

HttpResponse JsonResponse(const OrderedJson& body) { return {.body = Dump(body)}; }

}  // namespace

Api::Api(ApiConfig config, Engine& engine)
    : config_(WithContext(std::move(config), engine)),
      engine_(engine),
      constraints_(config_),
      metrics_(std::make_shared<ApiMetrics>()),
      parsing_(std::make_shared<WorkQueue>(kParsingThreads)),
      rendering_(std::make_shared<WorkQueue>(1)) {
  CADRE_CHECK(config_.model != nullptr && config_.tokenizer != nullptr);
}

Api::~Api() { Stop(); }

void Api::Stop() {
  parsing_->Stop();
  rendering_->Stop();
}

std::span<const ApiRoute> Api::Routes() { return kRoutes; }

void Api::Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  const auto known = std::ranges::any_of(
      kRoutes, [&](const ApiRoute& route) { return Matches(route, request.path); });
  auto exchange = std::make_shared<Exchange>(std::move(reply), engine_, rendering_, metrics_,
                                             known ? request.path : "other");
  exchange->Attach();
  // Small answers need no other thread; texts may take a while to read.
  if (request.method != "POST") return Answer(request, *exchange);
  parsing_->Post([this, request = std::move(request), exchange = std::move(exchange)] {
    if (!exchange->gone()) Answer(request, *exchange);
  });
}

void Api::Answer(const HttpRequest& request, Exchange& exchange) {
  try {
    if (request.method == "OPTIONS") {
      return exchange.Respond(
          {.status = 204, .body = "", .headers = {{"Allow", AllowedMethods(request.path)}}});
    }
    FindRoute(request);
    if (request.method == "POST") {
      AnswerPost(request, exchange);
    } else {
      AnswerGet(request, exchange);
    }
  } catch (const ApiError& error) {
    HttpResponse response = error.Response();
    if (error.status() == 405) response.headers.emplace_back("Allow", AllowedMethods(request.path));
    exchange.Respond(std::move(response));
  } catch (const Error& error) {
    exchange.Respond(ApiError(400, error.what()).Response());
  } catch (const std::exception& error) {
    log::error("{} {}: {}", request.method, request.path, error.what());
    exchange.Respond(ApiError(500, "the server failed").Response());
  }
}

void Api::AnswerGet(const HttpRequest& request, Exchange& exchange) {
  if (request.path == "/v1/models") return exchange.Respond(JsonResponse(ModelList(config_)));
  if (request.path.starts_with(kModelPath)) {
    const std::string name = request.path.substr(kModelPath.size());
    return exchange.Respond(JsonResponse(ModelCard(config_, name)));
  }
  if (request.path == "/health")
    return exchange.Respond(JsonResponse({{"status", "ok"}, {"model", config_.model_id}}));
  if (request.path == "/openapi.json")
    return exchange.Respond(JsonResponse(OpenApiDocument(config_)));
  CADRE_CHECK(request.path == "/metrics");
  exchange.Respond(
      {.content_type = "text/plain; version=0.0.4; charset=utf-8",
       .body = metrics_->Print(engine_.stats(), config_.model_id, config_.model->num_layers)});
}

void Api::AnswerPost(const HttpRequest& request, Exchange& exchange) {
  const OrderedJson body = ParseRequestJson(request.body);
  const std::string& path = request.path;
  if (path == "/v1/chat/completions") return Chat(body, exchange);
  if (path == "/v1/fim/completions") return Fim(body, exchange);
  if (path == "/v1/completions") return Complete(body, exchange);
  if (path == "/v1/embeddings") return Embed(body, exchange);
  if (path == "/v1/moderations") return Moderate(body, exchange);
  if (path.ends_with("/detokenize"))
    return exchange.Respond(JsonResponse(Detokenize(body, config_)));
  exchange.Respond(JsonResponse(Tokenize(body, config_)));
}

AnswerHead Api::MakeHead(const char* id_prefix) const {
  return {MakeAnswerId(id_prefix), Now(), config_.model_id};
}

void Api::Chat(const OrderedJson& body, Exchange& exchange) {
  const ChatRequest chat = ParseChatRequest(body, config_);
  const std::vector<int32_t> prompt = ChatPrompt(chat, config_);
  const bool calls = chat.tools.choice != ToolChoice::kNone;
  const LeadingSpace leading = chat.prefix.empty() ? LeadingSpace::kStrip : LeadingSpace::kKeep;
  const RequestConstraint constraint =
      calls ? constraints_.ForTools(chat.tools) : constraints_.ForFormat(chat.format, leading);
  std::vector<Request> requests;
  for (int64_t i = 0; i < chat.options.n; ++i) {
    Request request = MakeRequest(chat.options, config_, prompt, i);
    request.leading_space = leading;
    request.constraint = constraint;
    request.top_logprobs = chat.top_logprobs;
    requests.push_back(std::move(request));
  }
  ChatAnswerOptions options{.head = MakeHead("chatcmpl-"),
                            .n = requests.size(),
                            .stream = chat.options.stream,
                            .include_usage = chat.options.include_usage,
                            .logprobs = chat.top_logprobs >= 0,
                            .routing = DetailOf(chat.options),
                            .prefix = chat.prefix,
                            .tool_trigger_id = {}};
  if (calls) options.tool_trigger_id = config_.ControlId("[TOOL_CALLS]");
  exchange.Start(std::move(requests), MakeChatAnswers(config_, std::move(options)));
}

void Api::Fim(const OrderedJson& body, Exchange& exchange) {
  const FimRequest fim = ParseFimRequest(body, config_);
  const std::vector<int32_t> prompt = FimPrompt(fim, config_);
  std::vector<Request> requests;
  for (int64_t i = 0; i < fim.options.n; ++i)
    requests.push_back(MakeRequest(fim.options, config_, prompt, i));
  ChatAnswerOptions options{.head = MakeHead("fimcmpl-"),
                            .n = requests.size(),
                            .stream = fim.options.stream,
                            .include_usage = fim.options.include_usage,
                            .routing = DetailOf(fim.options),
                            .prefix = {},
                            .tool_trigger_id = {}};
  exchange.Start(std::move(requests), MakeChatAnswers(config_, std::move(options)));
}

void Api::Complete(const OrderedJson& body, Exchange& exchange) {
  CompletionRequest completion = ParseCompletionRequest(body, config_);
  const RequestConstraint constraint =
      constraints_.ForFormat(completion.format, LeadingSpace::kKeep);
  const bool ranks = completion.best_of > completion.options.n;
  std::vector<Request> requests;
  for (const std::vector<int32_t>& prompt : completion.prompts) {
    for (int64_t i = 0; i < completion.best_of; ++i) {
      Request request = MakeRequest(completion.options, config_, prompt, i);
      request.constraint = constraint;
      request.top_logprobs = std::max(completion.top_logprobs, ranks ? 0 : -1);
      request.prompt_logprobs = completion.echo && completion.top_logprobs >= 0;
      requests.push_back(std::move(request));
    }
  }
  CompletionAnswerOptions options{.head = MakeHead("cmpl-"),
                                  .prompt_texts = std::move(completion.prompt_texts),
                                  .n = static_cast<size_t>(completion.options.n),
                                  .best_of = static_cast<size_t>(completion.best_of),
                                  .stream = completion.options.stream,
                                  .include_usage = completion.options.include_usage,
                                  .echo = completion.echo,
                                  .top_logprobs = completion.top_logprobs,
                                  .routing = DetailOf(completion.options)};
  exchange.Start(std::move(requests), MakeCompletionAnswers(config_, std::move(options)));
}

void Api::Embed(const OrderedJson& body, Exchange& exchange) {
  EmbeddingRequest embedding = ParseEmbeddingRequest(body, config_);
  const size_t num_inputs = embedding.inputs.size();
  std::vector<Request> requests;
  for (std::vector<int32_t>& input : embedding.inputs) {
    Request request;
    request.prompt_ids = std::move(input);
    request.max_tokens = 0;
    request.embedding = true;
    requests.push_back(std::move(request));
  }
  exchange.Start(std::move(requests),
                 MakeEmbeddings(MakeHead("embd-"), num_inputs, embedding.base64));
}

void Api::Moderate(const OrderedJson& body, Exchange& exchange) {
  const std::vector<std::string> texts = ParseModerationRequest(body, config_);
  const RequestConstraint words = constraints_.ForWords(ModerationWords());
  std::vector<Request> requests;
  for (const std::string& text : texts) {
    Request request;
    request.prompt_ids = ModerationPrompt(text, config_);
    request.constraint = words;
    request.leading_space = LeadingSpace::kStrip;
    request.top_logprobs = 20;
    requests.push_back(std::move(request));
  }
  exchange.Start(std::move(requests), MakeModerations(config_, MakeHead("modr-"), texts.size()));
}

}  // namespace cadre
