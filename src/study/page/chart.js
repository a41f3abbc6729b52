// Lines over layers, slots or distances. They take any width: the drawing is stretched, the labels are text beside it.

const kWidth = 1000, kHeight = 400;
const kHues = [255, 35, 150, 320, 95, 200, 10, 285];

function niceSteps(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.floor(low / step) * step, steps = [];
  for (let value = first; value < high + step * 0.999; value += step) steps.push(Number(value.toPrecision(6)));
  return steps;
}

// chart: { x: [labels], axis, series: [{ name, values, low, high, dashed, grey, hue }], format, zero, now: index, points }
// Values may be null where there are none.
function lineChart(label, { x, axis, series, format = (value) => percent(value, 0), zero = false, now = null, points = x.length < 12 }) {
  series = series.filter((one) => one.values.some((value) => value !== null && value !== undefined));
  const all = series.flatMap((one) => [...one.values, ...(one.low ?? []), ...(one.high ?? [])]).filter((value) => value !== null && value !== undefined);
  if (all.length === 0) return el("p", { class: "note" }, "Nothing to show.");
  const ticks = niceSteps(zero ? 0 : Math.min(...all), Math.max(...all));
  const [bottom, top] = [ticks[0], ticks.at(-1)];
  const px = (i) => (x.length > 1 ? (i / (x.length - 1)) * kWidth : kWidth / 2);
  const py = (value) => kHeight * (1 - (value - bottom) / (top - bottom || 1));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${kWidth} ${kHeight}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${label}; the figures are in the table below`);
  const path = (d, name, hue) => {
    const node = document.createElementNS(svg.namespaceURI, "path");
    node.setAttribute("class", name);
    node.setAttribute("d", d);
    if (hue !== undefined) node.style.setProperty("--h", hue);
    svg.append(node);
    return node;
  };
  path(ticks.map((value) => `M0 ${py(value).toFixed(1)}h${kWidth}`).join(""), "grid");
  if (now !== null) path(`M${px(now)} 0v${kHeight}`, "now");
  const hueOf = (one, i) => one.hue ?? kHues[i % kHues.length];
  const tone = (one) => `tone${one.grey ? " grey" : ""}`;
  series.forEach((one, i) => {
    const at = one.values.map((value, n) => (value === null || value === undefined ? null : [px(n), py(value)]));
    if (one.low) {
      const band = one.low.map((_, n) => n).filter((n) => one.low[n] !== null);
      const edge = (values, order) => order.map((n) => `${px(n).toFixed(1)} ${py(values[n]).toFixed(1)}`).join("L");
      if (band.length > 1) path(`M${edge(one.high, band)}L${edge(one.low, [...band].reverse())}z`, `band ${tone(one)}`, hueOf(one, i));
    }
    let d = "", pen = "M";
    for (const point of at) {
      d += point ? `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}` : "";
      pen = point ? "L" : "M";
    }
    path(d, `line ${tone(one)}${one.dashed ? " dashed" : ""}`, hueOf(one, i));
    if (points && !one.dashed) path(at.filter(Boolean).map(([a, b]) => `M${a.toFixed(1)} ${b.toFixed(1)}h0`).join(""), `dots ${tone(one)}`, hueOf(one, i));
  });
  const ys = el("div", { class: "ys", "aria-hidden": "true" }, ...ticks.map((value) => {
    const mark = el("span", {}, format(value));
    mark.style.top = (100 * py(value)) / kHeight + "%";
    return mark;
  }));
  const every = Math.max(1, Math.ceil(x.length / 12));
  const xs = el("div", { class: "xs", "aria-hidden": "true" });
  x.forEach((text, n) => {
    if (n % every !== 0) return;
    const mark = el("span", {}, String(text));
    mark.style.left = (100 * px(n)) / kWidth + "%";
    xs.append(mark);
  });
  xs.append(el("span", { class: "axis" }, axis));
  const cursor = document.createElementNS(svg.namespaceURI, "path");
  cursor.setAttribute("class", "cursor");
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    const n = Math.max(0, Math.min(x.length - 1, Math.round(((event.clientX - frame.left) / frame.width) * (x.length - 1))));
    cursor.setAttribute("d", `M${px(n)} 0v${kHeight}`);
    svg.append(cursor);
    const lines = series.filter((one) => one.values[n] !== null && one.values[n] !== undefined).map((one) => `${one.name}: ${format(one.values[n], true)}`);
    showTip(event.clientX, event.clientY, [`${axis} ${x[n]}`, ...lines].join("\n"));
  });
  svg.addEventListener("pointerleave", () => {
    cursor.remove();
    hideTip();
  });
  const legend = el("ul", { class: "legend" }, ...series.map((one, i) => {
    const line = el("i", { class: `${tone(one)}${one.dashed ? " dashed" : ""}`, "--h": hueOf(one, i) });
    return el("li", {}, line, one.name);
  }));
  const columns = [{ name: axis, text: true }, ...series.map((one) => ({ name: one.name }))];
  const rows = x.map((text, n) => [{ value: n, text: String(text) }, ...series.map((one) => ({ value: one.values[n] ?? -Infinity,
    text: one.values[n] === null || one.values[n] === undefined ? "\u2013" : format(one.values[n], true) }))]);
  return el("div", {}, legend, el("div", { class: "plot" }, ys, svg, xs), el("details", {}, el("summary", {}, "Figures"), sortedTable(label, columns, rows)));
}
