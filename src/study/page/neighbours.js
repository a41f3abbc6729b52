// Whether neighbouring tokens share experts.

function repeatsChart(what) {
  const pick = (name) => ofLayers((layer) => ofDomains(layer, (domain) => domain.repeats[what][name]));
  return lineChart("Repeats of neighbours by layer", { x: ofLayers((_, number) => number), axis: "layer", now: state.layer, format: (value, exact) => percent(value, exact ? 1 : 0),
    series: [...report.domains.map((domain, d) => ({ name: domain.name, values: ofLayers((layer) => layer.domains[d].repeats[what].share), low: ofLayers((layer) => layer.domains[d].repeats[what].low), high: ofLayers((layer) => layer.domains[d].repeats[what].high) })),
      { name: "documents shuffled, mean", values: pick("shuffled_in_document"), grey: true, dashed: true }, { name: "even loads", values: pick("even"), grey: true }] });
}

function repeatsTable(what) {
  const columns = [{ name: "domain", text: true }, { name: "repeats" }, { name: "even loads", title: "every expert as likely as the next" }, { name: "its own loads", title: "independent tokens with the domain's loads" },
    { name: "document shuffled", title: "tokens of each document in random order, mean of 100" }, { name: "above that, points" }];
  const rows = layerNow().domains.map((domain) => {
    const found = domain.repeats[what];
    const of = (value) => ({ value, text: percent(value) });
    return [{ value: domain.domain, text: domain.domain }, withInterval(found.share, found.low, found.high, (value) => percent(value)), of(found.even), of(found.marginal), of(found.shuffled_in_document),
      { value: found.share - found.shuffled_in_document, text: (100 * (found.share - found.shuffled_in_document)).toFixed(1) }];
  });
  return sortedTable(`Repeats of neighbours in layer ${state.layer}`, columns, rows);
}

function lagChart() {
  const lags = layerNow().domains[0].repeats.by_lag.map((one) => one.lag);
  return lineChart(`Repeats by distance, layer ${state.layer}`, { x: lags, axis: "tokens apart", format: (value, exact) => percent(value, exact ? 1 : 0),
    series: [...layerNow().domains.map((domain) => ({ name: domain.domain, values: lags.map((lag) => domain.repeats.by_lag.find((one) => one.lag === lag)?.any ?? null) })),
      { name: "its loads alone", values: lags.map(() => ofDomains(layerNow(), (domain) => domain.repeats.any.marginal)), grey: true, dashed: true }] });
}

function neighboursSection() {
  const any = report.experts_per_token > 1;
  const parts = [panel("The same first choice as the token before", "By layer; the band is the 95 % interval.", live(() => repeatsChart("first")))];
  if (any) parts.push(panel("At least one expert in common", "Any of the choices of both tokens.", live(() => repeatsChart("any"))));
  parts.push(panel("First choice, this layer", "A repeat is worth something only above the baseline that knows the loads.", live(() => repeatsTable("first"))));
  if (any) parts.push(panel("In common, this layer", null, live(() => repeatsTable("any"))));
  const far = panel("How far it reaches, this layer", any ? "At least one expert in common, tokens that far apart." : "The same expert, tokens that far apart.", live(lagChart));
  far.classList.add("wide");
  parts.push(far);
  return section("Neighbours", "Tokens side by side share experts where text has stretches; uneven loads alone make them share some.", el("div", { class: "panels" }, ...parts));
}
