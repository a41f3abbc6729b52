// Sampling settings: what there is, what was chosen, and the sheet to choose in. An empty field is left
// to the server, and is not sent at all.

import { byId, element, iconButton } from "./dom.js";

const kStorage = "cadre.settings";
const kFields = [
  { key: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05, hint: "0 always takes the likeliest token" },
  { key: "top_p", label: "Top p", min: 0, max: 1, step: 0.01, hint: "Only the likeliest tokens that together have this probability" },
  { key: "top_k", label: "Top k", min: 0, max: 1000000, step: 1, hint: "Only so many of the likeliest tokens; 0 for all" },
  { key: "min_p", label: "Min p", min: 0, max: 1, step: 0.01, hint: "Only tokens at least this share as likely as the likeliest" },
  { key: "max_tokens", label: "Longest answer", min: 1, max: 10000000, step: 1, hint: "Tokens" },
  { key: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, hint: "The same seed gives the same answer" },
  { key: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1, hint: "Against tokens that occurred at all" },
  { key: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1, hint: "Against tokens, for each time they occurred" },
  { key: "repetition_penalty", label: "Repetition penalty", min: 0.01, max: 10, step: 0.05, hint: "Divides the logits of tokens that occurred; 1 for none" },
  { key: "experts_per_token", label: "Experts per token", min: 1, max: 4096, step: 1, group: "experts", hint: "How many the router may choose" },
  { key: "min_expert_prob", label: "Least expert probability", min: 0, max: 1, step: 0.01, group: "experts", hint: "Experts the router gives less stay idle" },
];
const kGroups = [
  { id: "sampling", title: "Sampling" },
  { id: "experts", title: "Experts" },
];

function load() {
  try {
    const stored = JSON.parse(localStorage.getItem(kStorage) ?? "{}");
    return Object.fromEntries(kFields.filter(({ key, min, max }) => stored[key] >= min && stored[key] <= max)
      .map(({ key }) => [key, stored[key]]));
  } catch {
    return {};
  }
}

export class Settings {
  #values = load();

  // `changed()` after every change; `system` gives and takes the system prompt of the conversation.
  constructor({ system, changed }) {
    this.system = system;
    this.changed = changed;
    this.dialog = byId("settings");
    this.#build();
  }

  // The fields of a request.
  get values() {
    return { ...this.#values };
  }

  get count() {
    return Object.keys(this.#values).length;
  }

  open(model) {
    this.prompt.value = this.system.get();
    this.prompt_row.hidden = !this.system.applies();
    for (const field of kFields) this.inputs.get(field.key).value = this.#values[field.key] ?? "";
    const experts = this.inputs.get("experts_per_token");
    experts.max = String(model?.experts ?? 4096);
    experts.placeholder = model?.experts_per_token ? String(model.experts_per_token) : "default";
    this.#showCount();
    this.dialog.showModal();
  }

  #build() {
    this.inputs = new Map();
    this.prompt = element("textarea", {
      id: "system", rows: "4", dir: "auto", placeholder: "You are …", "aria-describedby": "system-hint",
      oninput: () => this.system.set(this.prompt.value),
    });
    this.prompt_row = element("section", {},
      element("h3", {}, element("label", { for: "system" }, "System prompt")), this.prompt,
      element("p", { class: "hint", id: "system-hint" }, "Goes before this conversation; new ones begin with it too."));
    this.count_text = element("span", { class: "hint" });
    const groups = kGroups.map((group) => element("section", {}, element("h3", {}, group.title),
      ...kFields.filter((field) => (field.group ?? "sampling") === group.id).map((field) => this.#row(field))));
    this.dialog.replaceChildren(
      element("div", { class: "sheet-head" }, element("h2", { id: "settings-title" }, "Settings"),
        iconButton("close", "Close settings", () => this.dialog.close())),
      this.prompt_row, ...groups,
      element("div", { class: "sheet-foot" }, this.count_text,
        element("button", { type: "button", class: "quiet-button", onclick: () => this.#reset() }, "Back to defaults")));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  #row(field) {
    const id = `setting-${field.key}`;
    const input = element("input", {
      type: "number", id, min: field.min, max: field.max, step: field.step, placeholder: "default",
      inputmode: Number.isInteger(field.step) ? "numeric" : "decimal", "aria-describedby": `${id}-hint ${id}-error`, autocomplete: "off",
      oninput: () => this.#take(field, input, error),
    });
    const error = element("p", { class: "field-error", id: `${id}-error`, role: "alert" });
    this.inputs.set(field.key, input);
    return element("div", { class: "setting" }, element("label", { for: id }, field.label), input,
      element("p", { class: "hint", id: `${id}-hint` }, field.hint), error);
  }

  #take(field, input, error) {
    const empty = input.value === "" && !input.validity.badInput;
    const value = Number(input.value);
    const whole = !Number.isInteger(field.step) || Number.isInteger(value);
    const most = Number(input.max);
    const good = empty || (!input.validity.badInput && whole && value >= field.min && value <= most);
    input.setAttribute("aria-invalid", String(!good));
    error.textContent = good ? "" : `Must be a ${Number.isInteger(field.step) ? "whole " : ""}number from ${field.min} to ${most}; not used.`;
    if (empty || !good) delete this.#values[field.key];
    else this.#values[field.key] = value;
    this.#store();
  }

  #reset() {
    this.#values = {};
    for (const [key, input] of this.inputs) {
      input.value = "";
      input.setAttribute("aria-invalid", "false");
      byId(`setting-${key}-error`).textContent = "";
    }
    this.#store();
  }

  #store() {
    try {
      localStorage.setItem(kStorage, JSON.stringify(this.#values));
    } catch {
      // Kept for this page only.
    }
    this.#showCount();
    this.changed();
  }

  #showCount() {
    const count = this.count;
    this.count_text.textContent = count === 0 ? "All as the server has them" : `${count} ${count === 1 ? "setting differs" : "settings differ"}`;
  }
}
