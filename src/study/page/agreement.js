// How alike another model routes the same tokens; only where there is one.

const kAgreements = [["same_set", "same experts"], ["same_first", "same first choice"], ["jaccard", "Jaccard index"], ["gate_distance", "weight elsewhere"]];

function agreementTable() {
  const columns = [{ name: "domain", text: true }, ...kAgreements.map(([, name]) => ({ name }))];
  const rows = layerNow().domains.map((domain) => [{ value: domain.domain, text: domain.domain },
    ...kAgreements.map(([key]) => withInterval(domain.agreement[key].mean, domain.agreement[key].low, domain.agreement[key].high, (value) => percent(value)))]);
  return sortedTable(`Agreement by domain, layer ${state.layer}`, columns, rows);
}

function agreementChart() {
  return lineChart("Same experts by layer", { x: ofLayers((_, number) => number), axis: "layer", now: state.layer, format: (value, exact) => percent(value, exact ? 2 : 0),
    series: report.domains.map((domain, d) => ({ name: domain.name, values: ofLayers((layer) => layer.domains[d].agreement.same_set.mean), low: ofLayers((layer) => layer.domains[d].agreement.same_set.low), high: ofLayers((layer) => layer.domains[d].agreement.same_set.high) })) });
}

function marginChart() {
  const found = layerNow().agreement_by_margin;
  return lineChart("Same experts by margin", { x: found.margin_logits.map((margin) => margin.toFixed(2)), axis: "margin in logits, mean of each tenth of the tokens", format: (value, exact) => percent(value, exact ? 2 : 0),
    series: [{ name: "same experts", values: found.same_set, hue: 255 }] });
}

function agreementSection() {
  if (!report.against) return null;
  return section(`Beside ${report.against.name}`, `The same tokens through both models: how often ${report.against.name} chooses as ${report.model.name} does. Choices flip where the margin between the last chosen and the next is small.`,
    el("div", { class: "panels" }, panel("Same experts, by layer", null, live(agreementChart)), panel("By margin, this layer", null, live(marginChart)),
      el("figure", { class: "panel wide" }, el("h3", {}, "By domain, this layer"), el("p", { class: "note" }, "Weight elsewhere: half the sum of the differences of the gates."), live(agreementTable))));
}
