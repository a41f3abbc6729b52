// What a cache of experts would have, and what can be known before.

function cacheChart() {
  const cache = layerNow().cache;
  return lineChart(`Hit rate by slots, layer ${state.layer}`, { x: cache.slots, axis: "experts that have room", zero: true, format: (value, exact) => percent(value, exact ? 1 : 0),
    series: [{ name: "best possible (Belady)", values: cache.belady, hue: 150 }, { name: "least recent goes (LRU)", values: cache.lru, hue: 255 }, { name: "least frequent goes (LFU)", values: cache.lfu, hue: 35 },
      { name: "the most used, always", values: cache.most_used, hue: 320, dashed: true }, { name: "by chance", values: cache.even, grey: true, dashed: true }] });
}

function storeChart() {
  const { slots_per_layer: slots, hit_rate: store } = report.store_cache;
  const over = (name) => slots.map((_, i) => mean(ofLayers((layer) => layer.cache[name][i])));
  return lineChart("Hit rate of all layers by slots", { x: slots, axis: "experts of each layer that have room", zero: true, format: (value, exact) => percent(value, exact ? 1 : 0),
    series: [{ name: "Belady", values: over("belady"), hue: 150 }, { name: "LRU", values: over("lru"), hue: 255 }, { name: "Cadre's store", values: store, hue: 10 }, { name: "by chance", values: over("even"), grey: true, dashed: true }] });
}

function foresightChart() {
  const f = Math.min(report.experts_per_token, 4) - 1;
  const router = (distance) => ofLayers((layer) => layer.foresight.by_router.find((one) => one.layers_before === distance)?.recall[f] ?? null);
  return lineChart("Recall by layer", { x: ofLayers((_, number) => number), axis: "layer", now: state.layer, zero: true, format: (value, exact) => percent(value, exact ? 1 : 0),
    series: [...[1, 2, 4].map((distance, i) => ({ name: `its router, ${distance} layer${distance > 1 ? "s" : ""} before`, values: router(distance), hue: [255, 200, 285][i] })),
      { name: "what the token chose elsewhere", values: ofLayers((layer) => layer.foresight.by_token[f]), hue: 35 },
      { name: "the layer before's first choice", values: ofLayers((layer) => layer.foresight.by_last_choice?.[f] ?? null), hue: 95 },
      { name: "the most used", values: ofLayers((layer) => layer.foresight.by_load[f]), grey: true, dashed: true }] });
}

function foresightTable() {
  const foresight = layerNow().foresight;
  const columns = [{ name: "asked", text: true }, ...foresight.fetched.map((f) => ({ name: `${f} fetched` }))];
  const row = (name, recall, order) => [{ value: name, text: name, order }, ...recall.map((value) => ({ value, text: percent(value) }))];
  const rows = foresight.by_router.map((one) => row(`its router, ${one.layers_before} layer${one.layers_before > 1 ? "s" : ""} before`, one.recall));
  rows.push(row("what the token chose elsewhere", foresight.by_token));
  if (foresight.by_last_choice) rows.push(row("the layer before's first choice", foresight.by_last_choice));
  rows.push(row("the most used", foresight.by_load));
  return sortedTable(`Share of the choices of layer ${state.layer} that are among the experts fetched`, columns, rows);
}

function cachesSection() {
  const k = report.experts_per_token;
  return section("Running with less memory", "If only some experts are in memory: how often the one that is needed is there, and how early it can be asked for.",
    el("div", { class: "panels" },
      panel("A cache for this layer", "Decoding token by token over all texts; a hit counts per expert.", live(cacheChart)),
      panel("All layers", `The store's policy shares its places between layers; replayed over ${grouped(report.store_cache.tokens)} tokens.`, storeChart()),
      panel(`Known before, ${Math.min(k, 4)} fetched`, "A later layer's router on the hidden state of an earlier one, and tables made from the other half of the documents.", live(foresightChart)),
      panel("By how many are fetched, this layer", null, live(foresightTable))));
}
