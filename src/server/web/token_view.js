// An answer as its tokens, each in the colour of its first expert and underlined in that of the second.
// Pointing at a token, or walking with the arrow keys, shows all its experts.

import { announce, element } from "./dom.js";
import { expertColour } from "./palette.js";
import { TokenAligner, rankedExperts } from "./routing.js";
import { hideTip, showTip, tipSentence } from "./token_tip.js";

function paint(span, token, layer) {
  const [first, second] = rankedExperts(token, layer);
  span.style.setProperty("--first", first ? expertColour(first.expert) : "transparent");
  span.style.setProperty("--second", second ? expertColour(second.expert) : "transparent");
}

export class TokenView {
  #aligner = new TokenAligner();
  #taken = 0;  // tokens given to the aligner
  #shown = 0;  // tokens that have their span
  #current = -1;
  #layer = -1;
  #rest;

  constructor(target, trace, layer) {
    this.trace = trace;
    this.#layer = layer;
    this.#rest = element("span", { class: "untraced" });
    this.root = element("div", {
      class: "tokens", dir: "auto", tabindex: "0", role: "group",
      "aria-label": "Answer by tokens. Arrow keys go from token to token.",
      onkeydown: (event) => this.#key(event),
      onfocus: () => this.#select(this.#current, false),
      onblur: () => this.#leave(),
      onpointerover: (event) => this.#point(event),
      onpointerleave: () => hideTip(),
      onclick: (event) => this.#point(event),
    }, this.#rest);
    target.replaceChildren(this.root);
  }

  // Shows the tokens that came; `text` is the whole answer, whose end may not have its routing yet.
  update(text) {
    const spans = document.createDocumentFragment();
    for (const token of this.trace.tokens.slice(this.#taken)) {
      for (const part of this.#aligner.take(token, text)) {
        const span = element("span", { class: "token" }, part);
        paint(span, this.trace.tokens[this.#shown], this.#layer);
        spans.append(span);
        this.#shown += 1;
      }
      this.#taken += 1;
    }
    this.#rest.before(spans);
    this.#rest.textContent = this.#aligner.rest(text);
  }

  recolour(layer) {
    this.#layer = layer;
    for (let index = 0; index < this.#shown; index++) paint(this.root.children[index], this.trace.tokens[index], layer);
  }

  #point(event) {
    const index = [...this.root.children].indexOf(event.target);
    if (index < 0 || index >= this.#shown) hideTip();
    else showTip(this.root.children[index], this.trace, index, this.#layer);
  }

  #key(event) {
    const backwards = getComputedStyle(this.root).direction === "rtl";
    const steps = { ArrowRight: backwards ? -1 : 1, ArrowLeft: backwards ? 1 : -1, ArrowDown: 10, ArrowUp: -10 };
    let to;
    if (event.key in steps) to = this.#current + steps[event.key];
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = this.#shown - 1;
    else return;
    event.preventDefault();
    to = Math.max(0, Math.min(this.#shown - 1, to));
    if (to !== this.#current) this.#select(to, true);
  }

  #select(index, say) {
    this.root.children[this.#current]?.classList.remove("current");
    this.#current = index;
    const span = this.root.children[index];
    if (index < 0 || !span || index >= this.#shown) return;
    span.classList.add("current");
    span.scrollIntoView({ block: "nearest" });
    showTip(span, this.trace, index, this.#layer);
    if (say) announce(tipSentence(this.trace.tokens[index], this.#layer));
  }

  #leave() {
    this.root.children[this.#current]?.classList.remove("current");
    hideTip();
  }
}
