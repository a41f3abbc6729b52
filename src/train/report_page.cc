#include "train/report_page.h"

namespace cadre {

std::string_view ReportStyle() {
  return R"(
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-inline-size: 78rem; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 400 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, sans-serif; }
h1, h2, h3, h4, p, ul, ol, dl, dd, figure { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h1 { font-size: 1.6rem; line-height: 1.25; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0.75rem; }
h3 { font-size: 1rem; }
h4 { font-size: 0.875rem; font-weight: 550; }
header p, figcaption p, .note { color: var(--ink-2); font-size: 0.875rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 0.75rem; margin-top: 1.25rem; }
.tiles div { background: var(--raised); border: 1px solid var(--line); border-radius: 12px; padding: 0.75rem 1rem; }
.tiles dt { color: var(--ink-2); font-size: 0.8125rem; }
.tiles dd { font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.4; }
.tiles dd small { display: block; color: var(--ink-2); font-size: 0.8125rem; font-weight: 400; }
.alarms { background: var(--danger-paper); color: var(--danger); border-radius: 12px; padding: 0.9rem 1.1rem; margin-top: 1.25rem; }
.alarms h2 { margin: 0 0 0.25rem; font-size: 1rem; }
.alarms li { font-size: 0.9375rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)); gap: 1rem; }
.chart, .map { background: var(--raised); border: 1px solid var(--line); border-radius: 12px; padding: 1rem; min-inline-size: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 0.15rem 1rem; margin: 0.5rem 0; font-size: 0.8125rem; max-block-size: 5.2rem; overflow-y: auto; }
.legend li { display: flex; align-items: center; gap: 0.4rem; overflow-wrap: anywhere; }
.legend b { font-weight: 600; font-variant-numeric: tabular-nums; }
.legend i { inline-size: 1.1rem; border-block-start: 3px solid var(--stroke); flex: none; }
.legend i.dashed { border-block-start-style: dotted; }
.legend i.mark { border-block-start: 0; border-inline-start: 2px dashed var(--ink-2); block-size: 0.9rem; inline-size: 0; margin-inline: 0.5rem; }
.legend i, .line, .band, .marks { --stroke: light-dark(oklch(52% 0.16 var(--h)), oklch(77% 0.13 var(--h))); }
.plot { position: relative; block-size: var(--rows, 13rem); margin: 0.6rem 0.6rem 1.9rem 3.6rem; }
.plot svg { position: absolute; inset: 0; inline-size: 100%; block-size: 100%; overflow: visible; touch-action: pan-y; }
.plot path { fill: none; vector-effect: non-scaling-stroke; }
.plot .grid { stroke: var(--line); }
.plot .line { stroke: var(--stroke); stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; }
.plot .dashed { stroke-dasharray: 1 5; stroke-width: 2.5; }
.plot .marks { stroke: var(--stroke); stroke-width: 7; stroke-linecap: round; }
.plot .band { fill: var(--stroke); opacity: 0.17; }
.plot .mark { stroke: var(--ink-2); stroke-dasharray: 5 4; }
.plot .cursor { stroke: var(--ink-2); }
.ys span, .xs span { position: absolute; font-size: 0.75rem; line-height: 1; color: var(--ink-2); font-variant-numeric: tabular-nums; }
.ys span { inset-inline-end: calc(100% + 0.45rem); transform: translateY(-50%); }
.xs { position: absolute; inset: 100% 0 auto; }
.xs span { inset-block-start: 0.5rem; transform: translateX(-50%); }
.map .xs span:first-child { transform: none; }
.map .xs span:last-child { transform: translateX(-100%); }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem; margin-top: 0.75rem; }
.map .plot { margin: 0.5rem 0 1.7rem 1.8rem; }
.map svg { shape-rendering: crispEdges; border-radius: 4px; }
.scale { display: flex; align-items: center; gap: 0.6rem; font-size: 0.8125rem; color: var(--ink-2); flex-wrap: wrap; margin-bottom: 0.4rem; }
.scale ol { display: flex; }
.scale li { inline-size: 1.1rem; block-size: 0.9rem; background: var(--fill); }
.plot path[class^="h"] { fill: var(--fill); }
.h0 { --fill: var(--idle); } .h12 { --fill: var(--busy); } .h6 { --fill: var(--even); }
.h1 { --fill: color-mix(in oklab, var(--idle) 84%, var(--even)); } .h11 { --fill: color-mix(in oklab, var(--busy) 84%, var(--even)); }
.h2 { --fill: color-mix(in oklab, var(--idle) 68%, var(--even)); } .h10 { --fill: color-mix(in oklab, var(--busy) 68%, var(--even)); }
.h3 { --fill: color-mix(in oklab, var(--idle) 52%, var(--even)); } .h9 { --fill: color-mix(in oklab, var(--busy) 52%, var(--even)); }
.h4 { --fill: color-mix(in oklab, var(--idle) 35%, var(--even)); } .h8 { --fill: color-mix(in oklab, var(--busy) 35%, var(--even)); }
.h5 { --fill: color-mix(in oklab, var(--idle) 17%, var(--even)); } .h7 { --fill: color-mix(in oklab, var(--busy) 17%, var(--even)); }
.tip { position: absolute; z-index: 2; inset-block-start: 0; pointer-events: none; background: var(--raised); border: 1px solid var(--line); border-radius: 8px;
  padding: 0.35rem 0.6rem; font-size: 0.75rem; line-height: 1.5; white-space: nowrap; box-shadow: 0 4px 16px #00000026; font-variant-numeric: tabular-nums; }
details { font-size: 0.8125rem; }
summary { cursor: pointer; color: var(--ink-2); inline-size: fit-content; padding: 0.2rem 0; }
summary:focus-visible { outline: 2px solid var(--busy); outline-offset: 2px; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.8125rem; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: end; white-space: nowrap; border-block-end: 1px solid var(--line); }
th { font-weight: 550; }
th:first-child { text-align: start; }
.settings td { text-align: start; white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.settings th { vertical-align: top; }
.hidden { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); }
@media (min-width: 76rem) { .chart:first-child:nth-last-child(2) { grid-column: span 2; } }
@media (max-width: 40rem) {
  body { padding: 1.25rem 0.9rem 3rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .plot { margin-inline-start: 3rem; }
}
@media print { details { display: none; } .chart, .map { break-inside: avoid; } }
)";
}

std::string_view ReportScript() {
  return R"(
"use strict";
for (const svg of document.querySelectorAll("svg[data-axis]")) {
  const [low, high, logarithmic] = svg.dataset.axis.split(" ").map(Number);
  const last = Math.max(1, Number(svg.dataset.last));
  const box = svg.viewBox.baseVal;
  const valueAt = (y) => {
    const share = 1 - y / box.height;
    return logarithmic ? low * (high / low) ** share : low + share * (high - low);
  };
  const lines = [...svg.querySelectorAll(".line")].map((path) => ({
    label: path.dataset.label,
    points: path.getAttribute("d").slice(1).split("L").map((point) => point.split(" ").map(Number)),
  }));
  const cursor = document.createElementNS(svg.namespaceURI, "path");
  cursor.setAttribute("class", "cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  const leave = () => { cursor.remove(); tip.remove(); };
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width * box.width;
    if (x < 0 || x > box.width) return leave();
    tip.replaceChildren(document.createTextNode("step " + Math.round(x / box.width * last)));
    for (const { label, points } of lines) {
      let near = points[0];
      for (const point of points) if (Math.abs(point[0] - x) < Math.abs(near[0] - x)) near = point;
      tip.append(document.createElement("br"), label + ": " + Number(valueAt(near[1]).toPrecision(3)));
    }
    cursor.setAttribute("d", "M" + x + " 0v" + box.height);
    svg.append(cursor);
    svg.parentNode.append(tip);
    const left = (event.clientX - frame.left);
    tip.style.insetInlineStart = Math.min(Math.max(0, left + 12), Math.max(0, frame.width - tip.offsetWidth)) + "px";
    if (left + 12 + tip.offsetWidth > frame.width) tip.style.insetInlineStart = Math.max(0, left - 12 - tip.offsetWidth) + "px";
  });
  svg.addEventListener("pointerleave", leave);
}
)";
}

}  // namespace cadre
