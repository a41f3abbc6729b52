// A piece of text of each domain, every token in the colour of the expert it chose. Arrow keys walk from token to token.

function readerSection() {
  const k = report.experts_per_token;
  const view = { sample: 0, highlight: null, token: null };
  const box = el("div", { class: "reader", tabindex: 0, role: "group", "aria-label": "Text in the colours of its experts; arrow keys move from token to token" });
  const buttons = Array.from({ length: report.experts }, (_, e) => el("button", { type: "button", "aria-pressed": false, click: () => {
    view.highlight = view.highlight === e ? null : e;
    draw();
  } }));
  const sample = () => report.samples[view.sample];
  const choices = (layer, t) => sample().experts[layer].slice(t * k, t * k + k);
  // Which of a token's choices gives its ground, and which its underline.
  const ranks = () => (rankNow() === "second" ? [1, 0] : [0, 1]);

  function draw() {
    const [ground, under] = ranks();
    box.replaceChildren(...sample().tokens.map((text, t) => {
      const chosen = choices(state.layer, t);
      const other = view.highlight !== null && !(rankNow() === "all" ? chosen : [chosen[ground]]).includes(view.highlight);
      return el("span", { class: `token${other ? " odd" : ""}`, "data-t": t, "--of": expertColour(chosen[ground]),
        "--next": k > 1 && rankNow() === "all" ? expertColour(chosen[under]) : null }, text);
    }));
    const counts = new Array(report.experts).fill(0);
    sample().tokens.forEach((_, t) => (rankNow() === "all" ? choices(state.layer, t) : [choices(state.layer, t)[ground]]).forEach((e) => counts[e]++));
    const total = counts.reduce((sum, count) => sum + count, 0);
    buttons.forEach((button, e) => {
      button.setAttribute("aria-pressed", view.highlight === e);
      button.replaceChildren(swatch(e), `Expert ${e}`, el("small", {}, percent(counts[e] / total, 0)));
    });
    view.token = null;
  }

  function showToken(t, x, y) {
    const spans = box.children;
    if (view.token !== null) spans[view.token].classList.remove("current");
    view.token = t;
    spans[t].classList.add("current");
    const strip = el("div", { class: "strip" }, ...report.layers.map((_, layer) => el("span", {}, ...choices(layer, t).map((e) => el("i", { "--of": expertColour(e) }, String(e))), String(layer))));
    showTip(x, y, el("b", {}, visible(sample().tokens[t])), `  token ${t}, its choices by layer:`, strip);
  }
  function leave() {
    if (view.token !== null) box.children[view.token]?.classList.remove("current");
    view.token = null;
    hideTip();
  }
  box.addEventListener("pointermove", (event) => {
    const span = event.target.closest("[data-t]");
    if (span) showToken(Number(span.dataset.t), event.clientX, event.clientY);
    else leave();
  });
  box.addEventListener("pointerleave", leave);
  box.addEventListener("blur", leave);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") return leave();
    if (!step) return;
    event.preventDefault();
    const t = Math.max(0, Math.min(box.children.length - 1, (view.token ?? -1) + step));
    box.children[t].scrollIntoView({ block: "nearest" });
    const frame = box.children[t].getBoundingClientRect();
    showToken(t, frame.left, frame.bottom);
  });
  follow(draw);
  const names = report.samples.map((one, number) => [number, one.domain]);
  const choose = segments("sample", "Domain of the text", names, 0, (number) => {
    view.sample = number;
    draw();
    box.scrollTop = 0;
  });
  return section("What they read", `A document of each domain, drawn by the seed and not by eye. The ground of a token is the expert that layer's router chose${k > 1 ? " first, its underline the second" : ""}. Press an expert to see it alone.`,
    el("div", { class: "panel", style: "margin-block-start: 1rem" }, choose, el("div", { class: "experts" }, ...buttons), box));
}
