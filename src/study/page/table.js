// Tables that a press on a heading sorts.

// columns: [{ name, text, title }]; rows: [[{ value, text, node }]], the first of a row is its heading.
function sortedTable(caption, columns, rows) {
  const body = el("tbody");
  const headings = columns.map((column, number) => {
    const button = el("button", { type: "button", title: column.title, click: () => sortBy(number) }, column.name);
    return el("th", { scope: "col", class: column.text ? "text" : null }, button);
  });
  const lines = rows.map((cells) => ({
    cells,
    node: el("tr", {}, ...cells.map((cell, number) => el(number === 0 ? "th" : "td",
      { scope: number === 0 ? "row" : null, class: [columns[number].text ? "text" : "", cell.class ?? ""].join(" ").trim() || null }, cell.node ?? cell.text))),
  }));
  function sortBy(number) {
    const before = headings[number].getAttribute("aria-sort");
    const up = before ? before === "descending" : Boolean(columns[number].text);
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[number].setAttribute("aria-sort", up ? "ascending" : "descending");
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    lines.sort((a, b) => (up ? 1 : -1) * order(a.cells[number].value, b.cells[number].value));
    body.append(...lines.map((line) => line.node));
  }
  body.append(...lines.map((line) => line.node));
  return el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    el("table", { class: "sorted" }, el("caption", { class: "hidden" }, caption), el("thead", {}, el("tr", {}, ...headings)), body));
}

// A figure with its interval under it.
function withInterval(value, low, high, format) {
  const node = el("span", {}, format(value));
  if (low !== null && low !== undefined) node.append(" ", el("small", {}, `${format(low).replace(" %", "")}\u2013${format(high)}`));
  return { value, node };
}
