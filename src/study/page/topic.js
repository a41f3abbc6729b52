// Whether experts know topics or tokens.

function informationChart() {
  const what = (name) => ofLayers((layer) => Math.max(0, layer.topic[name].bits));
  return lineChart("What tells an expert, by layer", { x: ofLayers((_, number) => number), axis: "layer", now: state.layer, zero: true, format: (value, exact) => (exact ? bits(value) : value.toFixed(2)),
    series: [{ name: "the token", values: what("token"), hue: 35 }, { name: "the domain", values: what("domain"), hue: 255 },
      { name: "the domain, once the token is known", values: what("domain_given_token"), hue: 150 },
      { name: "the same, by chance", values: ofLayers((layer) => Math.max(0, layer.topic.domain_given_token.null_high_bits - (layer.topic.domain_given_token.plugin_bits - layer.topic.domain_given_token.bits))), grey: true, dashed: true }] });
}

function informationTable() {
  const columns = [{ name: "layer", text: true }, { name: "to know: H(expert)" }, { name: "token" }, { name: "domain" }, { name: "domain by chance", title: "documents given to random domains: above 95 of 100 shuffles" },
    { name: "domain | token" }, { name: "domain | token by chance" }];
  const exact = (value) => ({ value, text: value.toFixed(4) });
  const rows = ofLayers((layer, number) => {
    const { expert_bits: all, token, domain, domain_given_token: given } = layer.topic;
    return [{ value: number, text: String(number) }, exact(all), exact(token.bits), exact(domain.bits), exact(domain.null_high_bits - (domain.plugin_bits - domain.bits)),
      exact(given.bits), exact(given.null_high_bits - (given.plugin_bits - given.bits))];
  });
  return sortedTable("Mutual information in bits of a choice, bias taken away", columns, rows);
}

function divergenceHeat() {
  const { divergence_bits: found, divergence_null_high_bits: null_ } = layerNow().topic;
  const names = report.domains.map((domain) => domain.name);
  const most = Math.max(0.02, ...report.layers.flatMap((layer) => layer.topic.divergence_bits.flat()));
  const rows = found.map((row, i) => ({ label: names[i], cells: row.map((value, j) => (i === j ? { at: null, text: "" } : {
    at: Math.max(0, value) / most, text: value <= null_[i][j] ? "\u00b7" : value.toFixed(3),
    tip: `${names[i]} and ${names[j]}: ${value.toFixed(4)} bit\nby chance below ${null_[i][j].toFixed(4)}` })) }));
  return heatTable(`How far the loads of two domains are apart, layer ${state.layer}`, { cols: names, rows });
}

function topicSection() {
  const given = report.layers[0].topic.domain_given_token;
  return section("Topics or tokens", "What one choice of an expert can be told from, in bits. If experts knew topics, the domain would still tell something once the token is known.",
    el("div", { class: "panels" },
      panel("What tells an expert", `Of ${ofLayers((layer) => layer.topic.expert_bits)[0].toFixed(2)} bits that there are to know in layer 0.`, live(informationChart)),
      panel("Domains beside each other", "Jensen-Shannon divergence of their loads in bits; a dot: no more than random halves of the same documents.", live(divergenceHeat)),
      el("figure", { class: "panel wide" }, el("h3", {}, "All figures"), el("p", { class: "note" },
        `Chance: documents keep their tokens and get random domains (95 of 100 shuffles are below). The last two over the ${grouped(given.token_ids)} token ids seen often in two domains or more, ${percent(given.share_of_tokens, 0)} of the text.`), informationTable())));
}
