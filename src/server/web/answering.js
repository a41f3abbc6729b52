// Who is being answered: starts generations, keeps their texts and routing, saves what comes.

import { addMessage, requestMessages } from "./conversation.js";
import { Generation } from "./generation.js";
import { RoutingTrace } from "./routing.js";

const kSaveEvery_ms = 2000;
const kTextTokens = 256;  // where nothing is set; the API's own default of 16 is for programs

export class Answering {
  #generations = new Map();  // message id -> Generation
  #traces = new Map();  // message id -> RoutingTrace, or null where there is none
  #saved = 0;

  // `changed(generation)` for every piece, `ended(generation)` once; `failed(error)` when saving fails.
  constructor(library, { changed, ended, failed }) {
    Object.assign(this, { library, changed, ended, failed });
  }

  generationOf(message) {
    return this.#generations.get(message.id) ?? null;
  }

  isBusy(conversation) {
    return [...this.#generations.values()].some((generation) => generation.conversation === conversation);
  }

  stop(conversation) {
    for (const generation of this.#generations.values()) {
      if (generation.conversation === conversation) generation.stop();
    }
  }

  // Adds an answer after `last`, a message of the user, and generates it. `model` as listModels gives it.
  start(conversation, last, { model, settings, routing }) {
    const message = addMessage(conversation, last.id, "assistant", "");
    message.model = model.id;
    const generation = new Generation(conversation, message, model.experts, (now) => {
      this.changed(now);
      if (now.running && performance.now() - this.#saved > kSaveEvery_ms) this.save(conversation);
    });
    this.#generations.set(message.id, generation);
    if (routing) this.#traces.set(message.id, generation.trace);
    this.#run(generation, last, { model: model.id, ...settings, ...(routing ? { routing: true } : {}) });
    return message;
  }

  async #run(generation, last, fields) {
    const { conversation, message } = generation;
    const prompt = conversation.kind === "text"
      ? { prompt: last.content, max_tokens: kTextTokens, ...fields }
      : { messages: requestMessages(conversation, last), ...fields };
    const { messages, prompt: text, ...settings } = prompt;
    await generation.run(messages ? { messages } : { prompt: text }, settings);
    this.#generations.delete(message.id);
    this.ended(generation);
    if (!this.library.conversations.has(conversation.id)) return;
    this.save(conversation);
    if (generation.trace.tokens.length > 0) {
      this.library.saveRouting(message.id, generation.trace.tokens).catch(this.failed);
    }
  }

  save(conversation) {
    this.#saved = performance.now();
    this.library.save(conversation).catch(this.failed);
  }

  // The routing of a message as far as it is here.
  traceOf(message) {
    return this.#traces.get(message.id) ?? null;
  }

  // Fetches the routing of these messages; returns whether there is any that was not here.
  async loadTraces(messages) {
    const missing = messages.filter((message) => message.role === "assistant" && !this.#traces.has(message.id));
    let found = false;
    for (const message of missing) {
      const tokens = await this.library.routingOf(message.id);
      this.#traces.set(message.id, tokens ? new RoutingTrace(tokens) : null);
      found ||= tokens !== null;
    }
    return found;
  }
}
