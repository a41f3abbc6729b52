// The field in which a message is written, and the button that sends it or stops the answer.

import { byId, icon } from "./dom.js";

export class Composer {
  #running = false;

  // `actions` {send(text): whether it was taken, stop(), editLast()}.
  constructor(actions) {
    this.actions = actions;
    this.field = byId("message");
    this.button = byId("send");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#running) this.actions.stop();
      else this.#send();
    });
    this.field.addEventListener("input", () => this.#changed());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.#changed();
  }

  clear() {
    this.field.value = "";
    this.#changed();
  }

  setRunning(running) {
    this.#running = running;
    this.#changed();
    const label = running ? "Stop" : "Send";
    if (this.button.title === label) return;
    this.button.title = label;
    this.button.setAttribute("aria-label", label);
    this.button.replaceChildren(icon(running ? "stop" : "send"));
  }

  #changed() {
    this.button.disabled = !this.#running && this.field.value.trim() === "";
    // Browsers that size fields by their content do it by style alone.
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.setProperty("block-size", "auto");
    this.field.style.setProperty("block-size", `${this.field.scrollHeight}px`);
  }

  #send() {
    const text = this.field.value.trim();
    if (text === "" || this.#running) return;
    if (this.actions.send(text)) this.clear();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "ArrowUp" && this.field.value === "") {
      event.preventDefault();
      this.actions.editLast();
    }
  }
}
