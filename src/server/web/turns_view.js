// The messages of a chat, with what can be done to each. Knows how to show, not what it means: every
// action goes to `actions` {edit, retry, choose}, and rebuilding is only for what changed.

import { announce, byId, copyButton, element, icon, iconButton, setText } from "./dom.js";
import { siblings } from "./conversation.js";
import { MarkdownView } from "./markdown.js";
import { TokenView } from "./token_view.js";
import { statsParts, statsSentence } from "./generation.js";

const kNearEnd = 60;  // pixels from the end within which the view follows a growing answer

// Plain text of a block, for being read aloud.
function spoken(block) {
  switch (block.type) {
    case "code": return `Code${block.language ? `, ${block.language}` : ""}, ${block.text.split("\n").length} lines.`;
    case "table": return `Table of ${block.rows.length} rows.`;
    case "rule": return "";
    default: return block.source.replace(/[*_`#>|~]+/g, "");
  }
}

class AnswerView {
  #told = 0;  // blocks that were announced
  #markdown = null;
  #tokens = null;

  constructor(view, message) {
    this.view = view;
    this.body = element("div", { class: "answer" });
    this.status = element("div", { class: "answer-status" });
    this.root = element("div", { class: "turn assistant" }, element("h2", { class: "visually-hidden" }, "Answer"), this.body, this.status);
    this.update(message);
  }

  update(message) {
    const generation = this.view.generationOf(message);
    const trace = this.view.traceOf(message);
    if (trace && trace.tokens.length > 0) this.#showTokens(message, trace);
    else this.#showMarkdown(message, generation);
    this.body.classList.toggle("growing", generation !== null);
    this.body.setAttribute("aria-busy", String(generation !== null));
    this.#showStatus(message, generation);
  }

  recolour(layer) {
    this.#tokens?.recolour(layer);
  }

  #showTokens(message, trace) {
    this.#markdown = null;
    if (this.#tokens?.trace !== trace) this.#tokens = new TokenView(this.body, trace, this.view.layer);
    this.#tokens.update(message.content);
  }

  #showMarkdown(message, generation) {
    if (this.#markdown === null) {
      this.#tokens = null;
      this.body.replaceChildren();
      this.#markdown = new MarkdownView(this.body);
    }
    const blocks = this.#markdown.update(message.content);
    if (generation === null) return;
    // A block is complete when the next one has begun.
    for (; this.#told < blocks.length - 1; this.#told++) announce(spoken(blocks[this.#told]));
  }

  // Says what was not said yet of an answer that is complete.
  tellEnd(message) {
    const blocks = this.#markdown ? this.#markdown.update(message.content) : [];
    for (const block of blocks.slice(this.#told)) announce(spoken(block));
    this.#told = blocks.length;
    if (message.error) return;
    announce(message.finish === "stopped" ? "Stopped." : `Answer complete, ${message.stats?.tokens ?? 0} tokens.`);
  }

  #showStatus(message, generation) {
    const parts = statsParts(message.stats).join(" · ");
    if (generation) {
      if (!this.status.classList.contains("live")) {
        this.status.className = "answer-status live";
        this.status.replaceChildren(element("span", { class: "pulse", "aria-hidden": "true" }), element("span", { class: "stats" }));
      }
      setText(this.status.lastChild, parts || "Reading the prompt …");
      return;
    }
    this.status.className = "answer-status";
    this.status.replaceChildren(...this.#ending(message), this.view.toolbar(message, parts));
  }

  #ending(message) {
    const note = (text) => element("p", { class: "ending" }, text);
    if (message.error) {
      return [element("div", { class: "failure", role: "alert" }, element("p", {}, message.error),
        element("button", { type: "button", class: "quiet-button", onclick: () => this.view.actions.retry(message) },
          icon("retry"), "Try again"))];
    }
    if (message.finish === "length" || message.finish === "model_length") return [note("The answer reached the longest length allowed.")];
    if (message.finish === "stopped") return [note("Stopped.")];
    if (message.finish === "stop" && message.content === "") return [note("The model had nothing to say.")];
    return [];
  }
}

class PromptView {
  constructor(view, message) {
    this.view = view;
    this.root = element("div", { class: "turn user" });
    this.#show(message);
  }

  update() {}
  recolour() {}

  #show(message) {
    this.root.replaceChildren(element("h2", { class: "visually-hidden" }, "You"),
      element("div", { class: "bubble", dir: "auto" }, message.content), this.view.toolbar(message, ""));
  }

  edit(message) {
    const field = element("textarea", { dir: "auto", "aria-label": "Edit the message", rows: "1" });
    field.value = message.content;
    const done = (send) => {
      const text = field.value.trim();
      this.#show(message);
      if (send && text) this.view.actions.edit(message, text);
      else this.root.querySelector(".edit-button")?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        done(false);
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        done(true);
      }
    });
    this.root.replaceChildren(element("div", { class: "edit" }, field, element("div", { class: "edit-buttons" },
      element("button", { type: "button", class: "quiet-button", onclick: () => done(false) }, "Cancel"),
      element("button", { type: "button", class: "quiet-button strong", onclick: () => done(true) }, "Send"))));
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

export class TurnsView {
  #views = new Map();  // message id -> AnswerView | PromptView, of what is shown
  #conversation = null;
  #follow = true;
  layer = -1;

  // `lookups` {generationOf(message), traceOf(message)}; `actions` {edit(message, text), retry(message),
  // choose(message, step)}.
  constructor(lookups, actions) {
    Object.assign(this, lookups);
    this.actions = actions;
    this.list = byId("turns");
    this.scroller = byId("scroll");
    this.to_end = byId("to-end");
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.to_end.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.#stay()).observe(this.list);
    new ResizeObserver(() => this.#stay()).observe(this.scroller);
  }

  // Shows the path of a conversation, keeping what is already there.
  show(conversation, path, fresh = false) {
    if (conversation !== this.#conversation || fresh) this.#views.clear();
    this.#conversation = conversation;
    const views = new Map();
    const items = path.map((message) => {
      const kept = this.#views.get(message.id);
      const View = message.role === "user" ? PromptView : AnswerView;
      const view = kept ?? new View(this, message);
      if (kept) kept.update(message);
      views.set(message.id, view);
      view.item ??= element("li", {}, view.root);
      return view.item;
    });
    this.#views = views;
    const same = items.length === this.list.childElementCount && items.every((item, index) => this.list.children[index] === item);
    if (!same) this.list.replaceChildren(...items);
  }

  update(message) {
    this.#views.get(message.id)?.update(message);
  }

  tellEnd(message) {
    this.#views.get(message.id)?.tellEnd(message);
  }

  recolour(layer) {
    this.layer = layer;
    for (const view of this.#views.values()) view.recolour(layer);
  }

  edit(message) {
    this.#views.get(message.id)?.edit(message);
  }

  toolbar(message, stats) {
    const user = message.role === "user";
    const ids = siblings(this.#conversation, message);
    const at = ids.indexOf(message.id);
    const name = user ? "message" : "answer";
    const busy = () => this.generationOf(message) !== null;
    const switcher = ids.length < 2 ? null : element("span", { class: "switcher", role: "group", "aria-label": `Alternatives of this ${name}` },
      iconButton("left", `Previous ${name}`, () => this.actions.choose(message, -1), { disabled: at === 0 }),
      element("span", { "aria-label": `${at + 1} of ${ids.length}`, role: "img" }, `${at + 1}/${ids.length}`),
      iconButton("right", `Next ${name}`, () => this.actions.choose(message, 1), { disabled: at === ids.length - 1 }));
    return element("div", { class: "toolbar" }, switcher,
      message.content ? copyButton(`Copy the ${name}`, () => message.content) : null,
      user ? iconButton("edit", "Edit and send again", () => this.edit(message), { class: "icon-button edit-button" })
        : message.error ? null : iconButton("retry", "Answer again", () => { if (!busy()) this.actions.retry(message); }),
      stats ? element("span", { class: "stats", title: statsSentence(message.stats) }, stats) : null);
  }

  toEnd() {
    this.#follow = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.to_end.hidden = true;
  }

  #distance() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
  }

  #scrolled() {
    this.#follow = this.#distance() < kNearEnd;
    this.to_end.hidden = this.#follow;
  }

  #stay() {
    if (this.#follow) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.to_end.hidden = this.#distance() < kNearEnd;
  }
}
