// What was looked at, how figures are meant, and what they do not say.

function setupSection() {
  const { model, setup, domains } = report;
  const facts = [["Model", `${model.name}: ${model.layers} layers, ${model.experts} experts, ${model.experts_per_token} a token, ${grouped(model.parameters.total)} parameters`],
    ["Routers, SHA-256", model.routers_sha256],
    ...(report.against ? [["Beside it", `${report.against.name}; routers ${report.against.routers_sha256}`]] : []),
    ["Windows", `${setup.window_tokens} tokens${setup.bos ? ", BOS first, which is not counted" : ", without BOS"}; a document's first window before any second`],
    ...(setup.bos ? [["BOS chooses", ofLayers((layer, number) => `${number}: ${layer.bos_experts.join(", ")}`).join("; ") + " (layer: experts)"]] : []),
    ["Computed with", `keys and values ${setup.kv}, activations ${setup.activations}, dropless, no draw`],
    ["Intervals", `95 %, ${grouped(setup.bootstrap_resamples)} resamples of whole documents`], ["Shuffles", `${setup.shuffles}, seed ${setup.seed}`]];
  const table = sortedTable("Texts", [{ name: "domain", text: true }, { name: "documents" }, { name: "windows" }, { name: "tokens" }],
    domains.map((one) => [{ value: one.name, text: one.name }, ...["documents", "windows", "tokens"].map((key) => ({ value: one[key], text: grouped(one[key]) }))]));
  const files = el("details", {}, el("summary", {}, "Files"), el("dl", { class: "facts" }, ...setup.data.flatMap((one) => [el("dt", {}, `${one.domain}: ${one.file}`), el("dd", {}, one.sha256)])));
  return section("What was looked at", "Shares of what a router chose in texts that were given to it: nothing here was generated, and a load is no importance. A small model's routing does not carry over to a large one.",
    el("div", { class: "panels" }, panel("Set-up", null, el("dl", { class: "facts" }, ...facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]))), panel("Texts", null, table, files)));
}
