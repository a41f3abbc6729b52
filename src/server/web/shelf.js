// What can be done to saved conversations as a whole: listing, renaming, deleting, files.

import { byId, element, toast } from "./dom.js";
import { displayTitle, fromFile, titleOf, toFile } from "./conversation.js";
import { Sidebar } from "./sidebar.js";

const kMaxFileBytes = 200 * 1024 * 1024;
const kUndo_ms = 10000;

function saveFile(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function fileName(title) {
  const plain = title.normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 40).toLowerCase();
  return `cadre-${plain || "conversation"}.json`;
}

export class Shelf {
  #current = null;

  // `actions` {open(conversation), renamed(), removed(conversation)}.
  constructor(library, answering, actions) {
    Object.assign(this, { library, answering, actions });
    this.sidebar = new Sidebar({
      choose: (conversation) => {
        this.sidebar.chosen();
        actions.open(conversation);
      },
      rename: (conversation) => this.#rename(conversation),
      remove: (conversation) => this.#remove(conversation),
      exportOne: (conversation) => saveFile(fileName(displayTitle(conversation)), toFile([conversation])),
    });
    byId("export-all").addEventListener("click", () => saveFile("cadre-conversations.json", toFile(library.list())));
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.#import(event.target));
    for (const id of ["new-chat", "new-text"]) byId(id).addEventListener("click", () => this.sidebar.chosen());
  }

  draw(current) {
    this.#current = current;
    this.sidebar.show(this.library.list(), current, (conversation) => this.answering.isBusy(conversation));
  }

  #rename(conversation) {
    const dialog = byId("rename");
    const field = element("input", { type: "text", id: "new-title", maxlength: "200", dir: "auto", autocomplete: "off" });
    field.value = displayTitle(conversation);
    const form = element("form", { method: "dialog", onsubmit: (event) => {
      event.preventDefault();
      const title = titleOf(field.value);
      if (title) {
        conversation.title = title;
        conversation.named = true;
        this.answering.save(conversation);
        this.draw(this.#current);
        this.actions.renamed();
      }
      dialog.close();
    } },
    element("h2", { id: "rename-title" }, element("label", { for: "new-title" }, "Rename the conversation")), field,
    element("div", { class: "edit-buttons" },
      element("button", { type: "button", class: "quiet-button", onclick: () => dialog.close() }, "Cancel"),
      element("button", { type: "submit", class: "quiet-button strong" }, "Rename")));
    dialog.replaceChildren(form);
    dialog.showModal();
    field.select();
  }

  #remove(conversation) {
    this.answering.stop(conversation);
    this.library.remove(conversation).catch(this.answering.failed);
    this.actions.removed(conversation);
    this.draw(this.#current === conversation ? null : this.#current);
    const forget = setTimeout(() => this.library.forgetRouting(conversation).catch(this.answering.failed), kUndo_ms);
    toast(`Deleted “${displayTitle(conversation)}”`, { label: "Undo", run: () => {
      clearTimeout(forget);
      this.answering.save(conversation);
      this.actions.open(conversation);
    } });
  }

  async #import(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      if (file.size > kMaxFileBytes) throw new Error(`the file has ${file.size} bytes but must have at most ${kMaxFileBytes}`);
      const conversations = fromFile(await file.text());
      for (const conversation of conversations) await this.library.save(conversation);
      this.draw(this.#current);
      toast(`Imported ${conversations.length} ${conversations.length === 1 ? "conversation" : "conversations"}.`);
    } catch (error) {
      toast(`Not imported: ${error.message}`);
    }
  }
}
