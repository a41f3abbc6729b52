// What every part of the page is made of: the figures, elements, numbers as text, and the layer and
// rank that all parts follow.

const report = JSON.parse(document.getElementById("report").textContent);
const state = { layer: 0, rank: "all" };
const listeners = [];

// Draws now and whenever layer or rank change.
function follow(draw) {
  listeners.push(draw);
  draw();
}

function change(values) {
  Object.assign(state, values);
  for (const draw of listeners) draw();
}

const layerNow = () => report.layers[state.layer];
const rankNow = () => (layerNow().load[state.rank] ? state.rank : "all");

// el("p", { class: "note" }, "text", child, ...); functions become listeners, "--x" custom properties.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function section(title, lead, ...children) {
  return el("section", {}, el("h2", {}, title), el("p", { class: "lead" }, lead), ...children);
}

function panel(title, note, ...children) {
  return el("figure", { class: "panel" }, el("h3", {}, title), note ? el("p", { class: "note" }, note) : null, ...children);
}

// A node that `make` fills again whenever layer or rank change.
function live(make) {
  const box = el("div");
  follow(() => box.replaceChildren(...[make()].flat()));
  return box;
}

const percent = (share, digits = 1) => (100 * share).toFixed(digits) + " %";
const grouped = (number) => number.toLocaleString("en");
const bits = (value) => (Math.abs(value) < 0.0005 ? "0" : value.toFixed(3)) + " bit";
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const ofLayers = (pick) => report.layers.map(pick);
const ofDomains = (layer, pick) => mean(layer.domains.map(pick));

// Spaces and line ends, so that they can be seen.
const visible = (token) => token.replaceAll("\n", "\u21b5").replaceAll("\t", "\u21e5").replace(/^ /, "\u2423").replace(/ {2,}/g, (run) => "\u00b7".repeat(run.length)) || "(nothing)";

// One colour for each expert: eight searched for, which people with any common kind of colour blindness tell apart; more by the golden
// angle in three lightnesses. Numbers always stand beside them.
const kEight = ["#76a6ec", "#bda33f", "#e482a0", "#8efdfd", "#c4d371", "#f0b5bd", "#a1cffd", "#ffe4b8"];
function expertColour(expert) {
  if (report.experts <= kEight.length) return kEight[expert];
  return `oklch(${[0.74, 0.92, 0.83][expert % 3]} 0.1 ${((expert * 137.508) % 360).toFixed(1)})`;
}
const swatch = (expert) => el("span", { class: "swatch", "--of": expertColour(expert) });

// Radio buttons in a row. options: [[value, label]]
function segments(name, label, options, chosen, choose) {
  const box = el("fieldset", { class: "segments" }, el("legend", { class: "hidden" }, label));
  for (const [value, text] of options) {
    const input = el("input", { type: "radio", name, value, checked: value === chosen, change: () => choose(value) });
    box.append(el("label", {}, input, el("span", {}, text)));
  }
  return box;
}

const tip = el("div", { class: "tip", hidden: true, role: "status" });
function showTip(x, y, ...content) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
  tip.style.left = Math.max(4, left) + "px";
  tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - height - 4)) + "px";
}
function hideTip() {
  tip.hidden = true;
}
