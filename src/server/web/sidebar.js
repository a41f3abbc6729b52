// The list of conversations: choosing, finding, renaming, exporting, deleting.

import { byId, element, icon } from "./dom.js";
import { displayTitle } from "./conversation.js";

const kDay = 24 * 60 * 60 * 1000;

function dayName(time) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return "Today";
  if (time >= midnight - kDay) return "Yesterday";
  if (time >= midnight - 7 * kDay) return "Last seven days";
  return "Earlier";
}

export class Sidebar {
  #conversations = [];
  #current = null;
  #busy = () => false;

  // `actions` {choose, rename, remove, exportOne}, each with a conversation.
  constructor(actions) {
    this.actions = actions;
    this.root = byId("sidebar");
    this.list = byId("conversations");
    this.find = byId("find");
    this.find.addEventListener("input", () => this.#draw());
    byId("open-sidebar").addEventListener("click", () => this.toggle());
    byId("close-sidebar").addEventListener("click", () => this.close());
    byId("shade").addEventListener("click", () => this.close());
    this.narrow = matchMedia("(max-width: 1000px)");
    this.narrow.addEventListener("change", () => this.#apply(!this.narrow.matches));
    this.#apply(!this.narrow.matches);
    document.addEventListener("click", (event) => {
      for (const menu of this.list.querySelectorAll("details[open]")) if (!menu.contains(event.target)) menu.open = false;
    });
  }

  show(conversations, current, busy) {
    this.#conversations = conversations;
    this.#current = current;
    this.#busy = busy;
    this.#draw();
  }

  get isOpen() {
    return !this.root.hasAttribute("inert");
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.#apply(true);
    if (this.isOpen) byId("new-chat").focus();
  }

  close() {
    this.#apply(false);
    byId("open-sidebar").focus();
  }

  // On a narrow page the list lies over the chat; a choice closes it.
  chosen() {
    if (this.narrow.matches && this.isOpen) this.#apply(false);
  }

  #apply(open) {
    this.root.toggleAttribute("inert", !open);
    document.body.classList.toggle("sidebar-open", open);
    byId("shade").hidden = !(open && this.narrow.matches);
    for (const id of ["page", "experts"]) byId(id).toggleAttribute("inert", open && this.narrow.matches);
    byId("open-sidebar").setAttribute("aria-expanded", String(open));
  }

  #draw() {
    const wanted = this.find.value.trim().toLowerCase();
    const shown = this.#conversations.filter((conversation) => wanted === "" || this.#matches(conversation, wanted));
    const items = [];
    let day = null;
    for (const conversation of shown) {
      if (dayName(conversation.updated) !== day) {
        day = dayName(conversation.updated);
        items.push(element("li", { class: "day" }, element("h2", {}, day)));
      }
      items.push(this.#item(conversation));
    }
    if (wanted && shown.length === 0) items.push(element("li", { class: "none" }, "Nothing found"));
    this.list.replaceChildren(...items);
    this.find.hidden = this.#conversations.length < 2;
    byId("no-conversations").hidden = this.#conversations.length > 0;
    byId("export-all").disabled = this.#conversations.length === 0;
  }

  #matches(conversation, wanted) {
    return displayTitle(conversation).toLowerCase().includes(wanted) ||
      Object.values(conversation.messages).some((message) => message.content.toLowerCase().includes(wanted));
  }

  #item(conversation) {
    const title = displayTitle(conversation);
    const current = conversation.id === this.#current?.id;
    const act = (action) => () => {
      menu.open = false;
      action(conversation);
    };
    const menu = element("details", { class: "menu" },
      element("summary", { class: "icon-button", "aria-label": `More for ${title}`, title: "More" }, icon("more")),
      element("div", { class: "menu-items" },
        element("button", { type: "button", onclick: act(this.actions.rename) }, "Rename"),
        element("button", { type: "button", onclick: act(this.actions.exportOne) }, "Export"),
        element("button", { type: "button", class: "danger", onclick: act(this.actions.remove) }, "Delete")));
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      event.stopPropagation();
      menu.open = false;
      menu.firstChild.focus();
    });
    return element("li", { class: current ? "conversation current" : "conversation" },
      element("button", { type: "button", class: "choose", "aria-current": current ? "page" : null,
        onclick: () => this.actions.choose(conversation) },
      conversation.kind === "text" ? icon("text") : null, element("span", { dir: "auto" }, title),
      this.#busy(conversation) ? element("span", { class: "pulse", role: "img", "aria-label": "being answered" }) : null),
      menu);
  }
}
