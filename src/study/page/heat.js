// Heat maps: tables whose cells are coloured, so that a screen reader has the figures too.

// -1 (all of --idle) to 1 (all of --busy), 0: --even.
function fillOf(value) {
  const share = Math.min(1, Math.abs(value));
  return `color-mix(in oklab, var(${value < 0 ? "--idle" : "--busy"}) ${(100 * share).toFixed(0)}%, var(--even))`;
}
const inkOn = (value) => (Math.abs(value) > 0.55 ? "light-dark(#fff, #171614)" : null);

// How far a ratio is from 1: a factor of four is all the way.
const byRatio = (ratio) => (ratio <= 0 ? -1 : Math.max(-1, Math.min(1, Math.log2(ratio) / 2)));

// heat: { corner, cols: [node or text], rows: [{ label, cells: [{ at, text, tip }] }] }; at: null for no value.
function heatTable(caption, { corner = "", cols, rows, small = false }) {
  const table = el("table", { class: small ? "heat small" : "heat" }, el("caption", { class: "hidden" }, caption));
  if (!small) table.append(el("thead", {}, el("tr", {}, el("td", { class: "corner" }, corner), ...cols.map((col) => el("th", { scope: "col" }, col)))));
  const body = el("tbody");
  for (const { label, cells } of rows) {
    const row = el("tr", {}, small ? null : el("th", { scope: "row", title: label }, label));
    for (const cell of cells) {
      row.append(el("td", { class: cell.at === null ? "none" : null, "--fill": cell.at === null ? null : fillOf(cell.at),
        "--on": cell.at === null || small ? null : inkOn(cell.at), "data-tip": cell.tip }, small ? "" : cell.text));
    }
    body.append(row);
  }
  table.append(body);
  table.addEventListener("pointermove", (event) => {
    const cell = event.target.closest("[data-tip]");
    if (cell) showTip(event.clientX, event.clientY, cell.dataset.tip);
    else hideTip();
  });
  table.addEventListener("pointerleave", hideTip);
  return small ? table : el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption }, table);
}

const ratioScale = () => el("p", { class: "scale" }, "a quarter", el("i"), "4 times what is even");
const expertColumns = () => Array.from({ length: report.experts }, (_, e) => {
  const label = el("span");
  label.append(swatch(e), " " + e);
  return label;
});

// All layers as small maps; pressing one makes it the layer of the page. cells: (layer) => rows of numbers from -1 to 1.
function layerMinis(label, cells) {
  const box = el("div", { class: "minis" });
  const buttons = report.layers.map((layer, number) => el("button", { class: "mini", type: "button", click: () => change({ layer: number }) }));
  box.append(...buttons);
  follow(() => buttons.forEach((button, number) => {
    button.setAttribute("aria-pressed", number === state.layer);
    button.replaceChildren(`Layer ${number}`, heatTable(`${label}, layer ${number}`, { cols: [], small: true,
      rows: cells(report.layers[number]).map((row) => ({ label: "", cells: row.map((at) => ({ at, text: "" })) })) }));
  }));
  return box;
}
