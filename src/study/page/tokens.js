// Which kinds of tokens, and which tokens, an expert gets more often than its load explains.

function groupsHeat() {
  const groups = layerNow().texts.groups.filter((group) => group.choices.some((count) => count > 0));
  const loads = layerNow().texts.groups.reduce((sums, group) => sums.map((sum, e) => sum + group.choices[e]), new Array(report.experts).fill(0));
  const all = loads.reduce((sum, load) => sum + load, 0);
  const rules = Object.fromEntries(report.token_groups.map((one) => [one.group, one.rule]));
  const rows = groups.map((group) => {
    const total = group.choices.reduce((sum, count) => sum + count, 0);
    return { label: `${group.group} (${percent(total / all)})`, cells: group.choices.map((count, e) => {
      const lift = total > 0 && loads[e] > 0 ? (count * all) / (loads[e] * total) : 0;
      return { at: byRatio(lift), text: lift.toFixed(1), tip: `${group.group}, expert ${e}: ${grouped(count)} of ${grouped(total)} choices,\n${lift.toFixed(2)} times the expert's load\n${rules[group.group]}` };
    }) };
  });
  return heatTable(`Kinds of tokens by expert, layer ${state.layer}`, { cols: expertColumns(), rows });
}

function typicalCard(tokens, e) {
  const load = layerNow().load.all.shares[e];
  const items = tokens.map((one) => el("li", {}, el("span", { class: "chip", "--of": expertColour(e) }, visible(one.token)),
    el("span", { class: "context", title: `${one.before}${one.token}${one.after} (${one.domain})` }, `${one.before.replaceAll("\n", "\u21b5")}`, el("mark", { "--of": expertColour(e) }, visible(one.token).replace("\u2423", " ")), one.after.replaceAll("\n", "\u21b5")),
    el("span", { class: "lift", title: `${grouped(one.count)} of ${grouped(one.occurrences)} times` }, `\u00d7${one.lift.toFixed(1)}`)));
  return el("figure", { class: "panel card" }, el("h3", {}, swatch(e), `Expert ${e}`, el("small", { class: "note" }, `${percent(load)} of the choices`)),
    items.length ? el("ol", {}, ...items) : el("p", { class: "note" }, "No token stands out."));
}

function typicalTable() {
  const columns = [{ name: "expert", text: true }, { name: "token", text: true }, { name: "lift" }, { name: "chosen" }, { name: "seen" }, { name: "domain of the example", text: true }, { name: "in its context", text: true }];
  const rows = layerNow().texts.typical.flatMap((tokens, e) => tokens.map((one) => [{ value: e, text: String(e) }, { value: one.token, text: visible(one.token) }, { value: one.lift, text: one.lift.toFixed(2) },
    { value: one.count, text: grouped(one.count) }, { value: one.occurrences, text: grouped(one.occurrences) }, { value: one.domain, text: one.domain },
    { value: one.before, class: "context", node: el("span", {}, one.before, el("mark", { "--of": expertColour(e) }, one.token), one.after) }]));
  return sortedTable(`Typical tokens of layer ${state.layer}`, columns, rows);
}

function tokensSection() {
  return section("What each expert is for", "Lift: how many times more often an expert gets a token than its load explains. Groups follow rules of spelling; tokens are those that tell an expert's text from all text most, seen at least 8 times.",
    el("div", { class: "panels" }, el("figure", { class: "panel wide" }, el("h3", {}, "Kinds of tokens"), el("p", { class: "note" }, "Behind each kind: its share of all choices. Point at a cell for its rule."), live(groupsHeat), ratioScale())),
    el("div", { class: "cards" }, ...Array.from({ length: report.experts }, (_, e) => {
      const box = el("div");
      follow(() => box.replaceChildren(typicalCard(layerNow().texts.typical[e], e)));
      return box;
    })),
    el("details", {}, el("summary", {}, "All of them as a table"), live(typicalTable)));
}
