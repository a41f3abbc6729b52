// How the choices spread over experts, and which experts work together.

function loadCells(domain) {
  const load = domain.load[rankNow()];
  return load.shares.map((share, e) => ({
    at: byRatio(share * report.experts),
    text: (100 * share).toFixed(1),
    tip: `${domain.domain}, expert ${e}: ${percent(share, 2)}` + (load.low ? `\n95 % interval ${percent(load.low[e], 2)} to ${percent(load.high[e], 2)}` : "") + `\n${(share * report.experts).toFixed(2)} times what is even`,
  }));
}

function loadHeat() {
  const layer = layerNow();
  const rows = layer.domains.map((domain) => ({ label: domain.domain, cells: loadCells(domain) }));
  rows.push({ label: "all", cells: loadCells({ domain: "all", load: layer.load }) });
  return heatTable(`Percent of the choices by domain and expert, layer ${state.layer}`, { cols: expertColumns(), rows });
}

function loadTable() {
  const columns = [{ name: "domain", text: true }, { name: "most used, times even", title: "E times the largest share" }, { name: "least used" },
    { name: "CV\u00b2", title: "variance of the shares over their mean squared" }, { name: "entropy / ln E" }, { name: "router entropy, nats" }, { name: "margin, logits", title: "of the last chosen over the best not chosen: median" }];
  const rows = layerNow().domains.map((domain) => {
    const load = domain.load[rankNow()], router = domain.router;
    const entropy = router.entropy_nats;
    return [{ value: domain.domain, text: domain.domain }, { value: load.max_over_mean, text: load.max_over_mean.toFixed(2) }, { value: load.min_over_mean, text: load.min_over_mean.toFixed(2) },
      { value: load.cv_squared, text: load.cv_squared.toFixed(3) }, { value: load.normalised_entropy, text: load.normalised_entropy.toFixed(4) },
      withInterval(entropy.mean, entropy.low, entropy.high, (value) => value.toFixed(2)),
      { value: router.margin_logits?.median ?? 0, text: router.margin_logits ? router.margin_logits.median.toFixed(2) : "\u2013" }];
  });
  return sortedTable(`How even the loads are, layer ${state.layer}`, columns, rows);
}

function coactivationHeat() {
  const { lift, pairs } = layerNow().coactivation;
  const rows = lift.map((row, i) => ({ label: `expert ${i}`, cells: row.map((ratio, j) => (i === j ? { at: null, text: "" } : {
    at: byRatio(ratio), text: ratio.toFixed(1), tip: `experts ${i} and ${j}: ${grouped(pairs[i][j])} tokens,\n${ratio.toFixed(2)} times what independent ranks give` })) }));
  return heatTable(`How often two experts serve one token, layer ${state.layer}`, { cols: expertColumns(), rows });
}

function loadsSection() {
  const minis = layerMinis("Load by domain and expert", (layer) => layer.domains.map((domain) => (domain.load[rankNow()] ?? domain.load.all).shares.map((share) => byRatio(share * report.experts))));
  const panels = el("div", { class: "panels" },
    panel("Load by domain", "Percent of the choices; the colour is how far that is from an even share. Point at a cell for its interval.", live(loadHeat), ratioScale()),
    panel("How even that is", null, live(loadTable)));
  const parts = [panels, el("div", { class: "panels" }, panel("Every layer", "Rows are domains, columns experts. Press one to look at it.", minis))];
  if (layerNow().coactivation) {
    parts[1].append(panel("Who works together", "Tokens that two experts share, over what their loads explain: 1 is chance.", live(coactivationHeat), ratioScale()));
  }
  return section("How the work is spread", "Each expert's share of the choices, by domain. First and second choices are spread differently: switch between them above.", ...parts);
}
