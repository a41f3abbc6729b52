// What a new chat shows before the first message.

import { element, icon } from "./dom.js";

const kQuestions = [
  "What does a router do in a mixture of experts?",
  "Write a limerick about a lighthouse.",
  "Explain recursion to a ten-year-old.",
  "Write a Python function that checks for primes.",
];

function facts(model) {
  if (!model) return "";
  const parts = [];
  if (model.layers && model.experts > 1) parts.push(`${model.layers} layers of ${model.experts} experts`);
  if (model.experts > 1 && model.experts_per_token) parts.push(`${model.experts_per_token} for each token`);
  if (model.context) parts.push(`${model.context.toLocaleString("en")} tokens of context`);
  return parts.join(" · ");
}

// `what` {shown, model, system, ask(question), editSystem()}.
export function showEmpty(target, what) {
  target.hidden = !what.shown;
  if (!what.shown) {
    target.replaceChildren();
    return;
  }
  const system = what.system.trim();
  target.replaceChildren(
    element("img", { src: "/icon.svg", alt: "", width: "44", height: "44" }),
    element("h2", {}, "What would you like to know?"),
    element("p", { class: "model-facts" }, facts(what.model)),
    element("ul", { class: "questions" }, ...kQuestions.map((question) =>
      element("li", {}, element("button", { type: "button", disabled: !what.model, onclick: () => what.ask(question) }, question)))),
    element("button", { type: "button", class: "text-button system-note", onclick: () => what.editSystem() }, icon("settings"),
      element("span", { dir: "auto" }, system ? `System prompt: ${system}` : "Add a system prompt")));
}
