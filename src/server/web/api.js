// The server's API as the page uses it: the models, and answers as streams.

import { readEvents } from "./event_stream.js";

// What the server, or the way to it, has to say. `status` is 0 where there was no answer at all;
// `retry_after` is in seconds, or null.
export class ApiError extends Error {
  constructor(message, { status = 0, retry_after = null } = {}) {
    super(message);
    this.status = status;
    this.retry_after = retry_after;
  }
}

function sentence(text) {
  const trimmed = String(text).trim();
  if (!trimmed) return "The server gave no reason.";
  const first = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

async function errorOf(response) {
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const details = { status: response.status, retry_after: Number.isFinite(after) ? after : null };
  if (response.status === 401) {
    return new ApiError("The server wants an API key. Reload the page to enter one.", details);
  }
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text);
    const message = body.error?.message ?? body.message ?? body.detail?.[0]?.msg;
    return new ApiError(sentence(message ?? `The server answered ${response.status}`), details);
  } catch {
    return new ApiError(sentence(text.length > 0 && text.length < 300 && !text.startsWith("<")
      ? text : `The server answered ${response.status} ${response.statusText}`), details);
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it still running?");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

// [{id, chat, context, layers, experts, experts_per_token}], counts null where the server does not say.
export async function listModels() {
  const body = await (await request("/v1/models", {})).json();
  const count = (value) => (Number.isInteger(value) && value > 0 ? value : null);
  return (body.data ?? []).map((model) => {
    const shape = model.cadre ?? model;
    return {
      id: String(model.id),
      chat: model.capabilities?.completion_chat !== false,
      context: count(model.max_context_length),
      layers: count(shape.layers),
      experts: count(shape.experts),
      experts_per_token: count(shape.experts_per_token),
    };
  });
}

// Yields {text, routing, finish, usage} as they come: `routing` an array of tokens, `finish` a string,
// `usage` an object, each only where a chunk has it. `prompt` is {messages} or {prompt}. Throws
// ApiError; an abort of `signal` throws an AbortError.
export async function* streamAnswer(prompt, settings, signal) {
  const chat = prompt.messages !== undefined;
  const response = await request(chat ? "/v1/chat/completions" : "/v1/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ ...prompt, ...settings, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!(response.headers.get("Content-Type") ?? "").startsWith("text/event-stream") || !response.body) {
    throw new ApiError("The server answered with something that is not a stream.", { status: response.status });
  }
  let finished = false;
  try {
    for await (const data of readEvents(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(sentence(chunk.error.message ?? chunk.error));
      const choice = chunk.choices?.[0];
      const piece = {};
      const text = chat ? choice?.delta?.content : choice?.text;
      if (text) piece.text = text;
      if (choice?.routing?.tokens?.length) piece.routing = choice.routing.tokens;
      if (choice?.finish_reason) piece.finish = choice.finish_reason;
      if (chunk.usage) piece.usage = chunk.usage;
      finished ||= piece.finish !== undefined;
      yield piece;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
    if (error instanceof SyntaxError) throw new ApiError("The server sent a chunk that is not JSON.");
    if (!finished) throw new ApiError("The connection broke before the answer was complete.");
  }
  if (!finished) throw new ApiError("The connection ended before the answer was complete.");
}
