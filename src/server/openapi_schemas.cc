#include "server/openapi_schemas.h"

namespace cadre {
namespace {

// Shared by chat, FIM and completions.
constexpr const char* kSampling = R"json({
  "type": "object",
  "required": ["model"],
  "properties": {
    "model": {"type": "string", "description": "The id or an alias of the model; case, owner and separators make no difference."},
    "max_tokens": {"type": ["integer", "null"], "minimum": 0, "description": "Tokens of the answer at most; by default to the end of the context (completions: 16)."},
    "max_completion_tokens": {"type": ["integer", "null"], "minimum": 0, "description": "The same; wins over max_tokens."},
    "min_tokens": {"type": ["integer", "null"], "minimum": 0, "description": "Before so many tokens nothing ends the answer."},
    "ignore_eos": {"type": ["boolean", "null"], "default": false, "description": "The end-of-text token is never chosen: the answer ends at max_tokens, at a stop string or with its format."},
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2, "description": "0: always the likeliest token."},
    "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "top_k": {"type": ["integer", "null"], "minimum": -1, "description": "The k likeliest tokens; 0 or -1: all."},
    "min_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "presence_penalty": {"type": ["number", "null"], "minimum": -2, "maximum": 2},
    "frequency_penalty": {"type": ["number", "null"], "minimum": -2, "maximum": 2},
    "repetition_penalty": {"type": ["number", "null"], "minimum": 0.01, "maximum": 10},
    "logit_bias": {"type": ["object", "null"], "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}, "description": "Token ids and what is added to their logits."},
    "stop": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 64}, {"type": "null"}]},
    "seed": {"type": ["integer", "null"], "description": "The same seed gives the same answer, whoever else is served."},
    "random_seed": {"type": ["integer", "null"], "minimum": 0, "description": "The same, for those who call it so."},
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": "boolean"}}},
    "experts_per_token": {"type": ["integer", "null"], "minimum": 1, "description": "Experts per token and layer, instead of the model's own number."},
    "min_expert_prob": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "Experts after the first that the router likes less are not used."},
    "routing": {"oneOf": [{"type": "boolean"}, {"const": "all"}, {"type": "null"}], "description": "Tell the experts of every token of the answer; all: of the prompt too."}
  }
})json";

constexpr const char* kRequests = R"json({
  "Message": {
    "type": "object", "required": ["role"],
    "properties": {
      "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
      "content": {"oneOf": [{"type": "string"}, {"type": "null"}, {"type": "array", "items": {"$ref": "#/components/schemas/TextPart"}}]},
      "tool_calls": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/ToolCall"}},
      "tool_call_id": {"type": ["string", "null"]},
      "name": {"type": ["string", "null"]},
      "prefix": {"type": "boolean", "default": false, "description": "Of a last assistant message: the answer continues it."}
    }
  },
  "TextPart": {"type": "object", "required": ["text"], "properties": {"type": {"const": "text"}, "text": {"type": "string"}}},
  "ToolCall": {
    "type": "object", "required": ["function"],
    "properties": {
      "id": {"type": "string"}, "index": {"type": "integer"}, "type": {"const": "function"},
      "function": {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "arguments": {"oneOf": [{"type": "string"}, {"type": "object"}]}}}
    }
  },
  "Tool": {
    "type": "object", "required": ["function"],
    "properties": {
      "type": {"const": "function"},
      "function": {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}, "description": {"type": ["string", "null"]},
        "parameters": {"type": ["object", "null"], "description": "A JSON schema, which arguments always keep."}, "strict": {"type": ["boolean", "null"]}}}
    }
  },
  "ResponseFormat": {
    "type": "object", "required": ["type"],
    "properties": {
      "type": {"enum": ["text", "json_object", "json_schema"]},
      "json_schema": {"type": ["object", "null"], "properties": {
        "name": {"type": "string"}, "schema": {"description": "A JSON schema, which the answer always keeps; one that cannot be enforced is refused."}, "strict": {"type": ["boolean", "null"]}}}
    }
  },
  "ChatFields": {
    "type": "object", "required": ["messages"],
    "properties": {
      "messages": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Message"}},
      "tools": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Tool"}},
      "tool_choice": {"oneOf": [{"enum": ["none", "auto", "any", "required"]}, {"type": "object"}, {"type": "null"}]},
      "parallel_tool_calls": {"type": ["boolean", "null"], "default": true},
      "response_format": {"oneOf": [{"$ref": "#/components/schemas/ResponseFormat"}, {"type": "null"}]},
      "regex": {"type": ["string", "null"], "description": "A regular expression that the whole answer matches."},
      "safe_prompt": {"type": ["boolean", "null"], "default": false, "description": "Put Mistral's safety prompt before the conversation."},
      "logprobs": {"type": ["boolean", "null"], "default": false},
      "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20}
    }
  },
  "ChatRequest": {"allOf": [{"$ref": "#/components/schemas/Sampling"}, {"$ref": "#/components/schemas/ChatFields"}]},
  "FimRequest": {"allOf": [{"$ref": "#/components/schemas/Sampling"}, {"type": "object", "required": ["prompt"], "properties": {
    "prompt": {"type": "string"}, "suffix": {"type": ["string", "null"]}}}]},
  "CompletionRequest": {"allOf": [{"$ref": "#/components/schemas/Sampling"}, {"type": "object", "properties": {
    "prompt": {"$ref": "#/components/schemas/Prompt"},
    "best_of": {"type": ["integer", "null"], "minimum": 0, "maximum": 128},
    "echo": {"type": ["boolean", "null"]},
    "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
    "response_format": {"oneOf": [{"$ref": "#/components/schemas/ResponseFormat"}, {"type": "null"}]},
    "regex": {"type": ["string", "null"]}}}]},
  "Prompt": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}},
    {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, {"type": "null"}]},
  "EmbeddingRequest": {"type": "object", "required": ["model", "input"], "properties": {
    "model": {"type": "string"}, "input": {"$ref": "#/components/schemas/Prompt"},
    "encoding_format": {"enum": ["float", "base64"], "default": "float"},
    "dimensions": {"type": ["integer", "null"], "description": "Only the model's own."}, "output_dimension": {"type": ["integer", "null"]},
    "output_dtype": {"enum": ["float"]}}},
  "ModerationRequest": {"type": "object", "required": ["input"], "properties": {
    "model": {"type": ["string", "null"]}, "input": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}}},
  "TokenizeRequest": {"type": "object", "properties": {
    "prompt": {"type": "string", "description": "BOS goes in front."}, "content": {"type": "string", "description": "Nothing goes in front."},
    "messages": {"type": "array", "items": {"$ref": "#/components/schemas/Message"}}, "tools": {"type": "array", "items": {"$ref": "#/components/schemas/Tool"}},
    "add_special_tokens": {"type": "boolean"}, "add_special": {"type": "boolean"}, "with_pieces": {"type": "boolean"}}},
  "DetokenizeRequest": {"type": "object", "required": ["tokens"], "properties": {"tokens": {"type": "array", "items": {"type": "integer"}}}}
})json";

constexpr const char* kAnswers = R"json({
  "Usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"], "properties": {
    "prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"},
    "num_cached_tokens": {"type": "integer"},
    "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": {"type": "integer"}}},
    "completion_tokens_details": {"type": "object", "properties": {
      "accepted_prediction_tokens": {"type": "integer"}, "rejected_prediction_tokens": {"type": "integer"}}},
    "experts_per_token": {"type": "number", "description": "Mean over tokens and layers."}}},
  "Routing": {"type": "object", "properties": {
    "tokens": {"type": "array", "items": {"$ref": "#/components/schemas/TokenRouting"}},
    "prompt": {"type": "array", "items": {"$ref": "#/components/schemas/TokenRouting"}}}},
  "TokenRouting": {"type": "object", "required": ["id", "text", "experts", "gates", "entropy"], "properties": {
    "id": {"type": "integer"}, "text": {"type": "string"},
    "experts": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}, "description": "Per layer, in order of choice. Empty for an answer's last token, which is never read."},
    "gates": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}, "description": "Per layer, the weight of each expert."},
    "entropy": {"type": "array", "items": {"type": "number"}, "description": "Per layer, of the router over all experts, in nats."}}},
  "Choice": {"type": "object", "required": ["index", "finish_reason"], "properties": {
    "index": {"type": "integer"},
    "message": {"$ref": "#/components/schemas/Message"}, "delta": {"$ref": "#/components/schemas/Message"},
    "finish_reason": {"enum": ["stop", "length", "tool_calls", null]}, "logprobs": {"type": ["object", "null"]},
    "routing": {"$ref": "#/components/schemas/Routing"}}},
  "ChatAnswer": {"type": "object", "required": ["id", "object", "created", "model", "choices"], "properties": {
    "id": {"type": "string"}, "object": {"enum": ["chat.completion", "chat.completion.chunk"]}, "created": {"type": "integer"},
    "model": {"type": "string"}, "choices": {"type": "array", "items": {"$ref": "#/components/schemas/Choice"}},
    "usage": {"oneOf": [{"$ref": "#/components/schemas/Usage"}, {"type": "null"}]}}},
  "CompletionAnswer": {"type": "object", "required": ["id", "object", "created", "model", "choices"], "properties": {
    "id": {"type": "string"}, "object": {"const": "text_completion"}, "created": {"type": "integer"}, "model": {"type": "string"},
    "choices": {"type": "array", "items": {"type": "object", "required": ["index", "text", "finish_reason"], "properties": {
      "index": {"type": "integer"}, "text": {"type": "string"}, "logprobs": {"type": ["object", "null"]},
      "finish_reason": {"enum": ["stop", "length", null]}, "routing": {"$ref": "#/components/schemas/Routing"}}}},
    "usage": {"oneOf": [{"$ref": "#/components/schemas/Usage"}, {"type": "null"}]}}},
  "Embeddings": {"type": "object", "properties": {
    "id": {"type": "string"}, "object": {"const": "list"}, "model": {"type": "string"},
    "data": {"type": "array", "items": {"type": "object", "properties": {
      "object": {"const": "embedding"}, "index": {"type": "integer"},
      "embedding": {"oneOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string", "description": "Little-endian float32 in base64."}]}}}},
    "usage": {"$ref": "#/components/schemas/Usage"}}},
  "Moderations": {"type": "object", "properties": {
    "id": {"type": "string"}, "model": {"type": "string"},
    "results": {"type": "array", "items": {"type": "object", "properties": {
      "flagged": {"type": "boolean"}, "categories": {"type": "object", "additionalProperties": {"type": "boolean"}},
      "category_scores": {"type": "object", "additionalProperties": {"type": "number"}}}}}}},
  "Model": {"type": "object", "required": ["id", "object", "created", "owned_by", "capabilities", "type"], "properties": {
    "id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": {"type": "string"},
    "capabilities": {"type": "object", "additionalProperties": {"type": "boolean"}}, "max_context_length": {"type": "integer"},
    "aliases": {"type": "array", "items": {"type": "string"}}, "type": {"const": "base"},
    "cadre": {"type": "object", "description": "The model's shape: layers, experts, experts_per_token and more."}}},
  "Models": {"type": "object", "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}},
  "Tokens": {"type": "object", "properties": {"tokens": {"type": "array"}, "count": {"type": "integer"}, "max_model_len": {"type": "integer"}}},
  "Text": {"type": "object", "properties": {"prompt": {"type": "string"}, "content": {"type": "string"}}},
  "Health": {"type": "object", "properties": {"status": {"const": "ok"}, "model": {"type": "string"}}},
  "Error": {"type": "object", "required": ["object", "message", "type", "param", "code", "error"], "properties": {
    "object": {"const": "error"}, "message": {"type": "string"}, "type": {"type": "string"},
    "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]},
    "error": {"type": "object", "required": ["message", "type", "param", "code"]},
    "detail": {"type": "array", "items": {"type": "object", "required": ["loc", "msg", "type"]}}}}
})json";

}  // namespace

OrderedJson OpenApiSchemas() {
  OrderedJson schemas = {{"Sampling", ParseOrderedJson(kSampling, "openapi")}};
  schemas.update(ParseOrderedJson(kRequests, "openapi"));
  schemas.update(ParseOrderedJson(kAnswers, "openapi"));
  return schemas;
}

}  // namespace cadre
