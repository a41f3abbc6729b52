// Text to be continued, for models that do not chat, or where no chat is wanted: one sheet to write on.
// The model goes on where the text ends; its last continuation can be tried again or taken back.

import { byId, copyButton, element, icon, iconButton, setText } from "./dom.js";
import { siblings } from "./conversation.js";
import { statsParts, statsSentence } from "./generation.js";
import { TokenView } from "./token_view.js";

const kNearEnd = 80;  // pixels

export class TextView {
  #tokens = null;
  #path = [];
  #conversation = null;
  layer = -1;

  // `lookups` {generationOf, traceOf}; `actions` {proceed(text), stop(), retry(message),
  // choose(message, step), takeBack(message), write(text)}.
  constructor(lookups, actions) {
    Object.assign(this, lookups);
    this.actions = actions;
    this.#build();
  }

  #build() {
    this.field = element("textarea", {
      id: "sheet", dir: "auto", "aria-label": "Text to continue", placeholder: "Once upon a time …", spellcheck: "false",
      oninput: () => this.actions.write(this.field.value),
      onkeydown: (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        this.actions.proceed(this.field.value);
      },
    });
    this.coloured = element("div", { class: "sheet-tokens", hidden: true });
    this.note = element("div", { class: "sheet-note" });
    this.tools = element("div", { class: "sheet-tools" });
    this.go = element("button", { type: "button", class: "quiet-button strong", onclick: () => {
      if (this.#running()) this.actions.stop();
      else this.actions.proceed(this.field.value);
    } });
    byId("text").replaceChildren(
      element("div", { class: "sheet" }, this.field, this.coloured),
      this.note,
      element("div", { class: "sheet-bar" }, this.tools, this.go),
      element("p", { class: "sheet-hint" }, "Ctrl+Enter continues the text. The model can be wrong."));
  }

  #running() {
    const last = this.#path.at(-1);
    return last !== undefined && this.generationOf(last) !== null;
  }

  show(conversation, path) {
    this.#conversation = conversation;
    this.#path = path;
    this.#tokens = null;
    this.update();
  }

  // Brings text, colours and buttons up to date.
  update() {
    const text = this.#path.map((message) => message.content).join("");
    const running = this.#running();
    if (this.field.value !== text) {
      const near = this.field.scrollHeight - this.field.scrollTop - this.field.clientHeight < kNearEnd;
      this.field.value = text;
      if (near) this.field.scrollTop = this.field.scrollHeight;
    }
    this.field.readOnly = running;
    this.#colour();
    const last = this.#path.at(-1);
    this.go.replaceChildren(icon(running ? "stop" : "right"), running ? "Stop" : "Continue");
    const failure = last?.error && !running
      ? element("div", { class: "failure", role: "alert" }, element("p", {}, last.error),
        element("button", { type: "button", class: "quiet-button", onclick: () => this.actions.retry(last) }, icon("retry"), "Try again"))
      : null;
    this.note.replaceChildren(...(failure ? [failure] : []));
    this.#showTools(last, running);
  }

  recolour(layer) {
    this.layer = layer;
    this.#tokens?.recolour(layer);
  }

  #colour() {
    const last = this.#path.at(-1);
    const trace = last?.role === "assistant" ? this.traceOf(last) : null;
    this.coloured.hidden = !trace || trace.tokens.length === 0;
    if (this.coloured.hidden) {
      this.#tokens = null;
      return;
    }
    if (this.#tokens?.trace !== trace) {
      const target = element("div");
      this.#tokens = new TokenView(target, trace, this.layer);
      this.coloured.replaceChildren(element("h2", {}, "The continuation by experts"), target);
    }
    this.#tokens.update(last.content);
    if (this.generationOf(last)) this.coloured.scrollTop = this.coloured.scrollHeight;
  }

  #showTools(last, running) {
    const stats = element("span", { class: "stats", title: statsSentence(last?.stats) }, statsParts(last?.stats).join(" · "));
    if (running || last?.role !== "assistant") {
      if (running && this.tools.classList.contains("live")) {
        setText(this.tools.lastChild, stats.textContent || "Reading the text …");
        return;
      }
      this.tools.className = running ? "sheet-tools live" : "sheet-tools";
      this.tools.replaceChildren(...(running ? [element("span", { class: "pulse", "aria-hidden": "true" }), stats] : []));
      return;
    }
    this.tools.className = "sheet-tools";
    const ids = siblings(this.#conversation, last);
    const at = ids.indexOf(last.id);
    const switcher = ids.length < 2 ? [] : [
      iconButton("left", "Previous continuation", () => this.actions.choose(last, -1), { disabled: at === 0 }),
      element("span", { role: "img", "aria-label": `${at + 1} of ${ids.length}` }, `${at + 1}/${ids.length}`),
      iconButton("right", "Next continuation", () => this.actions.choose(last, 1), { disabled: at === ids.length - 1 })];
    this.tools.replaceChildren(element("span", { class: "switcher" }, ...switcher),
      iconButton("retry", "Continue differently", () => this.actions.retry(last)),
      iconButton("close", "Take the continuation back", () => this.actions.takeBack(last)),
      copyButton("Copy the text", () => this.field.value), stats);
  }
}
