// The help dialog and the keys it names. Letters need Alt, so that no key typed by chance does anything.

import { byId, element, iconButton } from "./dom.js";

const kShortcuts = [
  { keys: "Enter", what: "Send the message" },
  { keys: "Shift Enter", what: "New line" },
  { keys: "↑", what: "In an empty field: edit the last message" },
  { keys: "Esc", what: "Stop the answer, leave an edit, close a dialog" },
  { keys: "Alt N", what: "New chat", code: "KeyN", action: "newChat" },
  { keys: "Alt X", what: "New text to continue", code: "KeyX", action: "newText" },
  { keys: "Alt R", what: "Answer again", code: "KeyR", action: "retry" },
  { keys: "Alt E", what: "Show or hide experts", code: "KeyE", action: "toggleExperts" },
  { keys: "Alt L", what: "List of conversations", code: "KeyL", action: "toggleSidebar" },
  { keys: "Alt S", what: "Settings", code: "KeyS", action: "settings" },
  { keys: "Alt T", what: "Light, dark, or as the system", code: "KeyT", action: "nextTheme" },
  { keys: "Alt M", what: "To the message field", code: "KeyM", action: "focusMessage" },
  { keys: "Ctrl Enter", what: "Continue a text" },
  { keys: "Ctrl /", what: "This help" },
];

export class Help {
  constructor(actions) {
    this.dialog = byId("help");
    const rows = kShortcuts.map(({ keys, what }) => element("tr", {},
      element("th", { scope: "row" }, ...keys.split(" ").flatMap((key, index) => [index ? " " : "", element("kbd", {}, key)])),
      element("td", {}, what)));
    this.dialog.replaceChildren(
      element("div", { class: "sheet-head" }, element("h2", { id: "help-title" }, "Help"),
        iconButton("close", "Close help", () => this.dialog.close())),
      element("table", { class: "keys" }, element("tbody", {}, ...rows)),
      element("h3", {}, "Experts"),
      element("p", {}, "With “Show experts” every token of an answer has the colour of the expert that weighed most for it, in one layer " +
        "or over all of them, and is underlined in the colour of the second. Point at a token, or go through them with the arrow keys, " +
        "to see all its experts, how much each weighed, and how undecided the router was (its entropy)."),
      element("h3", {}, "What is kept"),
      element("p", {}, "Conversations and settings stay in this browser. Only what an answer needs is sent, and only to the server " +
        "this page came from."));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    document.addEventListener("keydown", (event) => this.#key(event, actions));
  }

  open() {
    if (!this.dialog.open) this.dialog.showModal();
  }

  #key(event, actions) {
    if (document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "/") {
      event.preventDefault();
      this.open();
      return;
    }
    if (event.key === "Escape" && !event.isComposing) {
      actions.escape();
      return;
    }
    if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const shortcut = kShortcuts.find(({ code }) => code === event.code);
    if (!shortcut) return;
    event.preventDefault();
    actions[shortcut.action]();
  }
}
