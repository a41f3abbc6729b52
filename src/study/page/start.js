// The page from top to bottom.

// What the figures say in one line each, worded by rules.
function findings() {
  const layers = report.layers;
  const share = (pick) => mean(layers.map((layer) => pick(layer.topic) / layer.topic.expert_bits));
  const most = layers.map((layer, number) => ({ number, given: layer.topic.domain_given_token })).filter(({ given }) => given.plugin_bits > given.null_high_bits);
  const gain = (what) => mean(layers.map((layer) => ofDomains(layer, (domain) => domain.repeats[what].share - domain.repeats[what].shuffled_in_document)));
  const raw = (what, name) => mean(layers.map((layer) => ofDomains(layer, (domain) => domain.repeats[what][name])));
  const busiest = layers.flatMap((layer, number) => layer.domains.map((domain) => ({ number, name: domain.domain, load: domain.load.all }))).sort((a, b) => b.load.max_over_mean - a.load.max_over_mean)[0];
  const k = report.experts_per_token, f = Math.min(k, 4) - 1;
  const early = layers.filter((layer) => layer.foresight.by_router.length > 0);
  const items = [
    [percent(share((topic) => Math.max(0, topic.token.bits))), `of what there is to know of a choice is known from the token alone.`],
    [percent(share((topic) => Math.max(0, topic.domain.bits)), 2), `is known from the domain.`],
    [percent(share((topic) => Math.max(0, topic.domain_given_token.plugin_bits - topic.domain_given_token.null_mean_bits)), 2), `is left to the domain above chance once the token is known: ${most.length === 0 ? "no layer stands above 95 of 100 shuffles" : most.length === layers.length ? "every layer stands above 95 of 100 shuffles" : `layers ${most.map(({ number }) => number).join(", ")} stand above 95 of 100 shuffles`}.`],
    [`\u00d7${busiest.load.max_over_mean.toFixed(2)}`, `its even share is the most that an expert gets of one domain: ${busiest.name} in layer ${busiest.number}, expert ${busiest.load.shares.indexOf(Math.max(...busiest.load.shares))}.`],
    [percent(raw("first", "share")), `of tokens repeat the first choice of the one before; ${percent(raw("first", "shuffled_in_document"))} do with their document shuffled (${gain("first") >= 0 ? "+" : ""}${(100 * gain("first")).toFixed(1)} points).`],
  ];
  if (early.length > 0) {
    items.push([percent(mean(early.map((layer) => layer.foresight.by_router[0].recall[f]))), `of choices are foreseen by a layer's router one layer before, ${f + 1} fetched; ${percent(mean(early.map((layer) => layer.foresight.by_token[f])))} by what the token chose elsewhere.`]);
  }
  if (report.against) {
    items.unshift([percent(mean(layers.map((layer) => ofDomains(layer, (domain) => domain.agreement.same_set.mean)))), `of tokens have the same experts in ${report.against.name}.`]);
  }
  return el("ul", { class: "findings" }, ...items.map(([figure, text]) => el("li", {}, el("b", {}, figure), el("span", {}, text))));
}

function controls() {
  const last = report.layers.length - 1;
  const output = el("output", {});
  const slider = el("input", { type: "range", min: 0, max: last, value: state.layer, input: (event) => change({ layer: Number(event.target.value) }) });
  follow(() => {
    slider.value = state.layer;
    output.textContent = state.layer;
  });
  const box = el("div", { class: "controls", role: "group", "aria-label": "Layer and choice that the sections follow" }, el("label", { class: "slider" }, "Layer", slider, output));
  if (report.layers[0].load.second) {
    box.append(segments("rank", "Which choice", [["all", "both choices"], ["first", "first"], ["second", "second"]], state.rank, (rank) => change({ rank })));
  }
  return box;
}

function themeButton() {
  return el("button", { class: "theme", type: "button", click: () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.style.colorScheme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.style.colorScheme = dark ? "light" : "dark";
  } }, "Light or dark");
}

document.addEventListener("DOMContentLoaded", () => {
  // Where domains tell most: the layer that there is most to see in.
  const told = ofLayers((layer) => layer.topic.domain.bits);
  state.layer = told.indexOf(Math.max(...told));
  const { model, domains, tokens } = report;
  const head = el("header", {}, el("div", { class: "top" }, el("h1", {}, `What the experts of ${model.name} do`), themeButton()),
    el("p", { class: "lead" }, `${model.layers} layers of ${model.experts} experts, ${model.experts_per_token} for each token, over ${grouped(tokens)} tokens of ${domains.map((domain) => domain.name).join(", ")}.`), findings());
  document.body.append(head, controls(), el("main", {}, ...[agreementSection(), readerSection(), tokensSection(), loadsSection(), topicSection(), neighboursSection(), cachesSection(), setupSection()].filter(Boolean)), tip);
});
