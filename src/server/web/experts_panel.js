// The panel beside the answers: which layer colours the tokens, what each expert's share is, and the
// heat map of layers and experts. Fed with sums while tokens come; draws at most once per frame.

import { byId, element, iconButton, setText } from "./dom.js";
import { definePalette, expertColour } from "./palette.js";
import { layerName } from "./token_tip.js";

// Heat from which on numbers change colour, so that they keep 4.5:1 on every cell of each theme.
const kHotLight = 0.66;
const kHotDark = 0.52;

const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;

export class ExpertsPanel {
  #trace = null;
  #experts = 0;
  #layers = 0;
  #frame = 0;
  layer = -1;
  scope = "answer";

  // `changed(what)` is called with "layer", "scope" or "close".
  constructor(changed) {
    this.changed = changed;
    this.root = byId("experts");
    this.#build();
  }

  #build() {
    this.slider = element("input", {
      type: "range", id: "layer", min: "-1", max: "-1", step: "1", value: "-1", disabled: true,
      oninput: () => this.#choose(Number(this.slider.value)),
    });
    this.output = element("output", { for: "layer" });
    this.legend = element("ul", { class: "legend", "aria-label": "Experts and their share of the choices" });
    this.table = element("table", { class: "heat", "aria-describedby": "heat-note" });
    this.facts = element("dl", { class: "facts" });
    this.numbers = element("input", { type: "checkbox", id: "heat-numbers",
      onchange: () => this.table.classList.toggle("with-numbers", this.numbers.checked) });
    const scope = (value, label) => element("label", {},
      element("input", { type: "radio", name: "scope", value, checked: value === this.scope, onchange: () => {
        this.scope = value;
        this.changed("scope");
      } }), element("span", {}, label));
    this.details = element("details", { class: "heat-box", open: matchMedia("(min-width: 1001px)").matches },
      element("summary", {}, "Heat map of the layers"),
      element("div", { class: "heat-scroll", tabindex: "0", role: "group", "aria-label": "Heat map" }, this.table),
      element("p", { id: "heat-note", class: "note" },
        "Share of the choices of a layer that went to each expert; the bar is the router’s mean entropy. A click on a layer colours by it."),
      element("label", { class: "check" }, this.numbers, " Numbers in the cells"));
    this.root.replaceChildren(
      element("div", { class: "panel-head" }, element("h2", {}, "Experts"),
        element("fieldset", { class: "segments" }, element("legend", { class: "visually-hidden" }, "What is counted"),
          scope("answer", "Last answer"), scope("all", "Conversation")),
        iconButton("close", "Hide experts", () => this.changed("close"))),
      element("div", { class: "layer-row" }, element("label", { for: "layer" }, "Colour by"), this.output, this.slider),
      this.legend, this.facts, this.details);
    this.#showLayer();
  }

  #choose(layer) {
    this.layer = layer;
    this.slider.value = String(layer);
    this.#showLayer();
    this.changed("layer");
    this.draw();
  }

  #showLayer() {
    const name = this.layer < 0 ? "All layers, by weight" : `${layerName(this.layer)} of 0–${this.#layers - 1}`;
    setText(this.output, name);
    this.slider.setAttribute("aria-valuetext", name);
  }

  // Shows these sums from the next frame on.
  show(trace) {
    this.#trace = trace;
    this.draw();
  }

  draw() {
    if (this.#frame !== 0 || this.root.hidden) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const trace = this.#trace;
    const any = trace !== null && trace.tokens_counted > 0;
    this.root.classList.toggle("nothing", !any);
    if (!any) {
      this.facts.replaceChildren(element("dt", {}, "No routing yet"), element("dd", {}, "the next answer brings it"));
      this.legend.replaceChildren();
      this.table.replaceChildren();
      this.#experts = 0;
      return;
    }
    if (trace.experts !== this.#experts || trace.layers !== this.#layers) this.#shape(trace);
    this.#fill(trace);
  }

  // Builds legend and table for this many experts and layers.
  #shape(trace) {
    this.#experts = trace.experts;
    this.#layers = trace.layers;
    definePalette(trace.experts);
    if (this.layer >= trace.layers) this.layer = -1;
    this.slider.max = String(trace.layers - 1);
    this.slider.value = String(this.layer);
    this.slider.disabled = false;
    this.#showLayer();
    const experts = [...Array(trace.experts).keys()];
    this.legend.replaceChildren(...experts.map((expert) =>
      element("li", {}, this.#swatch(expert), element("span", {}, String(expert)), element("b", {}))));
    const head = experts.map((expert) => element("th", { scope: "col" }, this.#swatch(expert),
      element("span", {}, element("span", { class: "visually-hidden" }, "Expert "), String(expert))));
    this.table.replaceChildren(
      element("caption", { class: "visually-hidden" }, "Share of the choices of each layer that went to each expert"),
      element("thead", {}, element("tr", {},
        element("th", { scope: "col" }, element("span", { class: "visually-hidden" }, "Layer")), ...head,
        element("th", { scope: "col", class: "entropy-head" }, "entropy"))),
      element("tbody", {}, ...[...Array(trace.layers).keys()].map((layer) => this.#row(layer, experts))));
  }

  #row(layer, experts) {
    return element("tr", { onclick: () => this.#choose(this.layer === layer ? -1 : layer) },
      element("th", { scope: "row" }, String(layer)),
      ...experts.map(() => element("td", {}, element("span", {}))),
      element("td", { class: "entropy" }, element("i"), element("span", {})));
  }

  #swatch(expert) {
    const made = element("i", { class: "swatch" });
    made.style.setProperty("background", expertColour(expert));
    return made;
  }

  #fill(trace) {
    const totals = trace.counts.map((row) => row.reduce((sum, count) => sum + (count ?? 0), 0));
    const all = totals.reduce((sum, count) => sum + count, 0);
    const total = this.layer < 0 ? all : totals[this.layer];
    [...this.legend.children].forEach((item, expert) => {
      setText(item.lastChild, percent(trace.count(this.layer, expert) / Math.max(1, total)));
    });
    let most = 2 / trace.experts;
    trace.counts.forEach((row, layer) => row.forEach((count) => {
      most = Math.max(most, (count ?? 0) / totals[layer]);
    }));
    const highest = Math.log(Math.max(2, trace.experts));
    const rows = this.table.tBodies[0].rows;
    for (let layer = 0; layer < trace.layers; layer++) {
      const cells = rows[layer].cells;
      rows[layer].classList.toggle("chosen", layer === this.layer);
      for (let expert = 0; expert < trace.experts; expert++) {
        const share = (trace.counts[layer][expert] ?? 0) / Math.max(1, totals[layer]);
        const cell = cells[expert + 1];
        cell.style.setProperty("--heat", `${((share / most) * 100).toFixed(1)}%`);
        cell.classList.toggle("hot-light", share / most > kHotLight);
        cell.classList.toggle("hot-dark", share / most > kHotDark);
        setText(cell.firstChild, `${Math.round(share * 100)}`);
      }
      const entropy = trace.entropies[layer] / trace.tokens_counted;
      const last = cells[trace.experts + 1];
      last.firstChild.style.setProperty("inline-size", `${Math.min(100, (entropy / highest) * 100).toFixed(1)}%`);
      setText(last.lastChild, entropy.toFixed(2));
    }
    this.#fillFacts(trace);
  }

  #fillFacts(trace) {
    const values = [
      ["Tokens", String(trace.tokens_counted)],
      ["Experts per token", (trace.choices / Math.max(1, trace.tokens_counted * trace.layers)).toFixed(2)],
      ["Mean entropy", `${(trace.entropies.reduce((sum, value) => sum + value, 0) / trace.tokens_counted / trace.layers).toFixed(2)} nats`],
    ];
    if (this.facts.childElementCount !== values.length * 2) {
      this.facts.replaceChildren(...values.flatMap(([name]) => [element("dt", {}, name), element("dd")]));
    }
    values.forEach(([, value], index) => setText(this.facts.children[index * 2 + 1], value));
  }
}
