// The card beside a token: what it is, its experts and gates at the chosen layer, and a strip of all
// layers with first and second expert and the router's entropy.

import { byId, element } from "./dom.js";
import { expertColour } from "./palette.js";
import { rankedExperts } from "./routing.js";

const kMaxShown = 4;
const percent = (share) => `${Math.round(share * 100)} %`;

// The text of a token so that one sees blanks and newlines.
export function visible(text) {
  const marked = text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
  return marked === "" ? "∅" : marked;
}

export function layerName(layer) {
  return layer < 0 ? "All layers" : `Layer ${layer}`;
}

export function tipSentence(token, layer) {
  const ranked = rankedExperts(token, layer).slice(0, 2).map(({ expert, weight }) => `expert ${expert}, ${percent(weight)}`);
  return `${token.text.trim() || "blank"}: ${ranked.join("; ")}`;
}

function ranking(token, layer) {
  const ranked = rankedExperts(token, layer);
  const rows = ranked.slice(0, kMaxShown).map(({ expert, weight }) =>
    element("li", {}, swatch(expert), element("span", {}, `Expert ${expert}`), gateBar(weight), element("b", {}, percent(weight))));
  return element("ol", { class: "ranking" }, ...rows);
}

function swatch(expert) {
  const made = element("i", { class: "swatch" });
  made.style.setProperty("background", expertColour(expert));
  return made;
}

function gateBar(share) {
  const bar = element("span", { class: "gate" }, element("i"));
  bar.firstChild.style.setProperty("inline-size", `${share * 100}%`);
  return bar;
}

// One column for each layer: a cell for each of the first two experts, as high as its gate, over a bar
// as long as the entropy.
function strip(token, experts, layer) {
  const most = Math.log(Math.max(2, experts));
  const columns = token.experts.map((_, at) => {
    const ranked = rankedExperts(token, at);
    const column = element("span", { class: at === layer ? "column chosen" : "column" });
    const bars = element("span", { class: "choices" });
    for (const { expert, weight } of ranked.slice(0, kMaxShown)) {
      const cell = element("i");
      cell.style.setProperty("background", expertColour(expert));
      cell.style.setProperty("flex-grow", String(Math.max(weight, 0.02)));
      bars.append(cell);
    }
    const entropy = element("span", { class: "entropy" }, element("i"));
    entropy.firstChild.style.setProperty("block-size", `${Math.min(1, (token.entropy?.[at] ?? 0) / most) * 100}%`);
    column.append(bars, entropy);
    return column;
  });
  return element("div", { class: "strip" }, ...columns);
}

function fill(tip, trace, index, layer) {
  const token = trace.tokens[index];
  const entropies = token.entropy ?? [];
  const entropy = layer >= 0 ? entropies[layer] : entropies.reduce((sum, value) => sum + value, 0) / Math.max(1, entropies.length);
  const mean = layer >= 0 ? "Entropy" : "Mean entropy";
  tip.replaceChildren(
    element("div", { class: "tip-head" }, element("code", {}, visible(token.text)),
      element("span", {}, `${layerName(layer)}${Number.isInteger(token.id) ? ` · token ${token.id}` : ""}`)),
    ranking(token, layer),
    strip(token, trace.experts, layer),
    element("div", { class: "tip-axis" }, element("span", {}, "layer 0"), element("span", {}, `${token.experts.length - 1}`)),
    element("p", {}, `${mean} ${(entropy ?? 0).toFixed(2)} of ${Math.log(Math.max(2, trace.experts)).toFixed(2)} nats`));
}

let shown_at = null;  // the token that has the card

function place() {
  const tip = byId("tip");
  const gap = 8;
  const box = shown_at.getClientRects()[0];
  if (!shown_at.isConnected || !box || box.bottom < 0 || box.top > innerHeight) {
    hideTip();
    return;
  }
  const width = tip.offsetWidth;
  const height = tip.offsetHeight;
  const left = Math.max(gap, Math.min(box.left + box.width / 2 - width / 2, innerWidth - width - gap));
  const above = box.top - height - gap;
  const top = above >= gap ? above : Math.min(box.bottom + gap, innerHeight - height - gap);
  tip.style.setProperty("inset-inline-start", `${left}px`);
  tip.style.setProperty("inset-block-start", `${top}px`);
}

export function showTip(anchor, trace, index, layer) {
  shown_at = anchor;
  fill(byId("tip"), trace, index, layer);
  byId("tip").hidden = false;
  place();
}

export function hideTip() {
  byId("tip").hidden = true;
  shown_at = null;
}

// The card follows its token; pressing elsewhere hides it.
addEventListener("scroll", () => shown_at && place(), { capture: true, passive: true });
addEventListener("pointerdown", (event) => {
  if (!event.target.classList?.contains("token")) hideTip();
});
