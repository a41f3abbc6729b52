#include "server/openapi.h"

#include <string>

#include "server/openapi_schemas.h"

namespace cadre {
namespace {

struct Operation {
  const char* method;
  const char* path;
  const char* summary;
  const char* request;  // a schema's name, or null
  const char* answer;   // a schema's name, or null for plain text
  bool streams;
};

constexpr Operation kOperations[] = {
    {"post", "/v1/chat/completions", "Answer a conversation", "ChatRequest", "ChatAnswer", true},
    {"post", "/v1/completions", "Continue a text", "CompletionRequest", "CompletionAnswer", true},
    {"post", "/v1/fim/completions", "Fill in the middle", "FimRequest", "ChatAnswer", true},
    {"post", "/v1/embeddings", "Turn texts into vectors", "EmbeddingRequest", "Embeddings", false},
    {"post", "/v1/moderations", "Ask the model whether a text does harm", "ModerationRequest",
     "Moderations", false},
    {"get", "/v1/models", "The model that is served", nullptr, "Models", false},
    {"get", "/v1/models/{id}", "The model under one of its names", nullptr, "Model", false},
    {"post", "/tokenize", "Turn text into token ids", "TokenizeRequest", "Tokens", false},
    {"post", "/detokenize", "Turn token ids into text", "DetokenizeRequest", "Text", false},
    {"post", "/v1/tokenize", "Turn text into token ids", "TokenizeRequest", "Tokens", false},
    {"post", "/v1/detokenize", "Turn token ids into text", "DetokenizeRequest", "Text", false},
    {"get", "/health", "Whether the server lives", nullptr, "Health", false},
    {"get", "/metrics", "Counters for Prometheus", nullptr, nullptr, false},
    {"get", "/openapi.json", "This document", nullptr, "Document", false},
};

OrderedJson Reference(const char* schema) {
  return {{"schema", {{"$ref", std::string("#/components/schemas/") + schema}}}};
}

OrderedJson Responses(const Operation& operation) {
  OrderedJson content = OrderedJson::object();
  if (operation.answer == nullptr) {
    content["text/plain"] = {{"schema", {{"type", "string"}}}};
  } else {
    content["application/json"] = Reference(operation.answer);
  }
  if (operation.streams) content["text/event-stream"] = {{"schema", {{"type", "string"}}}};
  OrderedJson responses = {
      {"200", {{"description", "The answer"}, {"content", std::move(content)}}}};
  const OrderedJson error = {{"description", "What is wrong"},
                             {"content", {{"application/json", Reference("Error")}}}};
  for (const char* status : {"400", "401", "404", "422", "429", "503"}) {
    const bool takes_body = operation.request != nullptr;
    if (takes_body || std::string_view(status) == "401") responses[status] = error;
  }
  return responses;
}

OrderedJson Describe(const Operation& operation) {
  OrderedJson json = {{"summary", operation.summary}};
  if (std::string_view(operation.path).ends_with("{id}")) {
    json["parameters"] = OrderedJson::array(
        {{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
  }
  if (operation.request != nullptr) {
    json["requestBody"] = {{"required", true},
                           {"content", {{"application/json", Reference(operation.request)}}}};
  }
  json["responses"] = Responses(operation);
  return json;
}

}  // namespace

OrderedJson OpenApiDocument(const ApiConfig& config) {
  OrderedJson paths = OrderedJson::object();
  for (const Operation& operation : kOperations)
    paths[operation.path][operation.method] = Describe(operation);
  OrderedJson schemas = OpenApiSchemas();
  schemas["Document"] = {{"type", "object"}};
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "Cadre"},
            {"version", "0.1.0"},
            {"description", "The Mistral and OpenAI API over " + config.model_id + "."}}},
          {"servers", OrderedJson::array({{{"url", "/"}}})},
          {"security", OrderedJson::array({OrderedJson::object({{"bearer", OrderedJson::array()}}),
                                           OrderedJson::object()})},
          {"paths", std::move(paths)},
          {"components",
           {{"schemas", std::move(schemas)},
            {"securitySchemes", {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace cadre
