// One answer while it is generated: runs the request, fills the message, measures, can be stopped.

import { ApiError, streamAnswer } from "./api.js";
import { RoutingTrace } from "./routing.js";

export class Generation {
  #controller = new AbortController();
  #pieces = 0;
  #begin = performance.now();
  #first = null;
  #last = null;

  // `changed(generation)` is called for every piece; the message holds text and stats.
  constructor(conversation, message, experts, changed) {
    this.conversation = conversation;
    this.message = message;
    this.trace = new RoutingTrace([], experts ?? 0);
    this.changed = changed;
    this.running = true;
  }

  stop() {
    this.#controller.abort();
  }

  // Ends when the answer is complete, stopped, or failed; never throws. The message says which.
  async run(prompt, settings) {
    const message = this.message;
    message.error = null;
    try {
      for await (const piece of streamAnswer(prompt, settings, this.#controller.signal)) {
        this.#take(piece);
        this.changed(this);
      }
    } catch (error) {
      if (error.name === "AbortError") {
        message.finish = "stopped";
      } else {
        message.finish = "error";
        message.error = error instanceof ApiError ? error.message : `The page could not go on: ${error.message}`;
        if (error.retry_after) message.error += ` The server asks to wait ${error.retry_after} s.`;
      }
    }
    this.running = false;
    this.#measure();
    this.changed(this);
  }

  #take(piece) {
    const message = this.message;
    if (piece.text) {
      this.#last = performance.now();
      this.#first ??= this.#last;
      this.#pieces += 1;
      message.content += piece.text;
    }
    if (piece.routing) this.trace.add(piece.routing);
    if (piece.finish) message.finish = piece.finish;
    if (piece.usage) this.usage = piece.usage;
    this.#measure();
  }

  // Until the server says how many tokens there were, pieces are counted: nearly one for each token.
  #measure() {
    if (this.#first === null && !this.usage) return;
    const tokens = this.usage?.completion_tokens ?? Math.max(this.#pieces, this.trace.tokens.length);
    const seconds = ((this.#last ?? this.#begin) - (this.#first ?? this.#begin)) / 1000;
    const stats = {
      tokens,
      exact: this.usage !== undefined,
      first_s: this.#first === null ? undefined : (this.#first - this.#begin) / 1000,
      tokens_per_s: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : undefined,
      prompt_tokens: this.usage?.prompt_tokens,
      cached_tokens: this.usage?.prompt_tokens_details?.cached_tokens,
      experts_per_token: this.usage?.experts_per_token,
    };
    this.message.stats = Object.fromEntries(Object.entries(stats).filter(([, value]) => value !== undefined && value !== null));
  }
}

// "23.4 tokens/s", "first 0.21 s", ... of the stats of a message.
export function statsParts(stats) {
  if (!stats) return [];
  const parts = [];
  if (stats.tokens_per_s) parts.push(`${stats.tokens_per_s.toFixed(1)} tokens/s`);
  if (stats.first_s !== undefined) parts.push(`first ${stats.first_s.toFixed(2)} s`);
  parts.push(`${stats.tokens} ${stats.tokens === 1 ? "token" : "tokens"}`);
  return parts;
}

// What there is to know beyond that.
export function statsSentence(stats) {
  if (!stats?.exact) return "";
  const cached = stats.cached_tokens ? `, ${stats.cached_tokens} of them from the cache` : "";
  const experts = stats.experts_per_token ? `; ${stats.experts_per_token} experts per token` : "";
  return `Prompt of ${stats.prompt_tokens} tokens${cached}; answer of ${stats.tokens}${experts}`;
}
