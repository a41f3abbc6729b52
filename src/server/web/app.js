// The page: owns what is shown and puts the parts together.

import { ApiError, listModels } from "./api.js";
import { Answering } from "./answering.js";
import { addMessage, chooseSibling, clearMessages, displayTitle, newConversation, removeMessage, shownPath }
  from "./conversation.js";
import { byId, element, icon, setText, toast } from "./dom.js";
import { ExpertsPanel } from "./experts_panel.js";
import { Help } from "./help.js";
import { Library } from "./library.js";
import { Shelf } from "./shelf.js";
import { nextTheme, preference, setPreference, theme, themeName } from "./preferences.js";
import { RoutingTrace } from "./routing.js";
import { Settings } from "./settings.js";
import { Composer } from "./composer.js";
import { showEmpty } from "./empty.js";
import { TextView } from "./text_view.js";
import { TurnsView } from "./turns_view.js";

class App {
  models = [];
  model = null;
  conversation = newConversation("chat", preference("system") ?? "");
  experts_shown = preference("experts") === "on";
  #frame = 0;

  constructor() {
    this.library = new Library();
    this.answering = new Answering(this.library, {
      changed: () => this.#soon(),
      ended: (generation) => this.#ended(generation),
      failed: (error) => toast(`Not saved: ${error.message}`),
    });
    const lookups = {
      generationOf: (message) => this.answering.generationOf(message),
      traceOf: (message) => (this.experts_shown ? this.answering.traceOf(message) : null),
    };
    this.turns = new TurnsView(lookups, {
      edit: (message, text) => this.#ask(message.parent, text),
      retry: (message) => this.#again(message),
      choose: (message, step) => this.#choose(message, step),
    });
    this.text = new TextView(lookups, {
      proceed: (text) => this.#proceed(text),
      stop: () => this.answering.stop(this.conversation),
      retry: (message) => this.#again(message),
      choose: (message, step) => this.#choose(message, step),
      takeBack: (message) => this.#takeBack(message),
      write: (text) => this.#write(text),
    });
    this.composer = new Composer({
      send: (text) => this.#ask(shownPath(this.conversation).at(-1)?.id ?? null, text),
      stop: () => this.answering.stop(this.conversation),
      editLast: () => this.#editLast(),
    });
    this.panel = new ExpertsPanel((what) => this.#panelChanged(what));
    this.settings = new Settings({
      system: {
        applies: () => this.conversation.kind === "chat",
        get: () => this.conversation.system,
        set: (text) => this.#setSystem(text),
      },
      changed: () => this.#showSettingsCount(),
    });
    this.shelf = new Shelf(this.library, this.answering, {
      open: (conversation) => this.open(conversation),
      renamed: () => this.#showTitle(),
      removed: (conversation) => { if (conversation === this.conversation) this.begin(this.#kind()); },
    });
    this.help = new Help(this.#shortcuts());
    this.#bind();
  }

  #shortcuts() {
    return {
      newChat: () => this.begin("chat"),
      newText: () => this.begin("text"),
      retry: () => this.#retryLast(),
      toggleExperts: () => this.toggleExperts(),
      toggleSidebar: () => this.shelf.sidebar.toggle(),
      settings: () => this.settings.open(this.model),
      nextTheme: () => this.#nextTheme(),
      focusMessage: () => this.#focus(),
      escape: () => this.answering.stop(this.conversation),
    };
  }

  #bind() {
    byId("new-chat").addEventListener("click", () => this.begin("chat"));
    byId("new-text").addEventListener("click", () => this.begin("text"));
    byId("toggle-experts").addEventListener("click", () => this.toggleExperts());
    byId("open-settings").addEventListener("click", () => this.settings.open(this.model));
    byId("open-help").addEventListener("click", () => this.help.open());
    byId("toggle-theme").addEventListener("click", () => this.#nextTheme());
    byId("model").addEventListener("change", (event) => this.#setModel(event.target.value));
    addEventListener("beforeunload", () => {
      if (this.answering.isBusy(this.conversation)) this.answering.save(this.conversation);
    });
  }

  async start() {
    this.#showTheme();
    this.#showExperts();
    this.#showSettingsCount();
    const kept = await this.library.open((id) => this.#changedElsewhere(id),
      (id) => this.answering.isBusy(this.library.conversations.get(id)));
    if (!kept) toast("This browser keeps nothing: conversations end with the page.");
    this.shelf.draw(this.conversation);
    this.#show();
    await this.loadModels();
    this.#focus();
  }

  async loadModels() {
    const notice = byId("notice");
    try {
      this.models = await listModels();
      if (this.models.length === 0) throw new ApiError("The server has no model.");
      notice.hidden = true;
    } catch (error) {
      notice.replaceChildren(element("p", {}, error.message),
        element("button", { type: "button", class: "quiet-button", onclick: () => this.loadModels() }, icon("retry"), "Try again"));
      notice.hidden = false;
      return;
    }
    const wanted = preference("model");
    this.#setModel((this.models.find(({ id }) => id === wanted) ?? this.models[0]).id);
  }

  #setModel(id) {
    this.model = this.models.find((model) => model.id === id);
    setPreference("model", id);
    const select = byId("model");
    select.replaceChildren(...this.models.map((model) => element("option", { value: model.id }, model.id)));
    select.value = id;
    select.hidden = this.models.length < 2;
    setText(byId("model-name"), this.models.length < 2 ? id : "");
    // An unused conversation becomes what the model can do.
    if (this.conversation.root === null) this.conversation.kind = this.#kind();
    byId("new-chat").hidden = !this.model.chat;
    this.#show();
  }

  #kind() {
    return this.model && !this.model.chat ? "text" : "chat";
  }

  // Shows a new, empty conversation.
  begin(kind) {
    if (kind === "chat" && this.model && !this.model.chat) {
      toast("This model has no chat format; it continues texts.");
      return;
    }
    this.open(newConversation(kind, preference("system") ?? ""));
    this.#focus();
  }

  open(conversation) {
    if (conversation !== this.conversation) this.composer.clear();
    this.conversation = conversation;
    this.shelf.draw(conversation);
    this.#show(true);
    this.turns.toEnd();
    this.#loadTraces();
  }

  #changedElsewhere(id) {
    if (id === this.conversation.id && this.library.conversations.has(id)) this.open(this.library.conversations.get(id));
    else this.shelf.draw(this.conversation);
  }

  #focus() {
    if (matchMedia("(pointer: coarse)").matches) return;
    byId(this.conversation.kind === "text" ? "sheet" : "message").focus();
  }

  // Asks `text` after the message `parent`.
  #ask(parent, text) {
    if (!this.model) {
      this.loadModels();
      return false;
    }
    this.answering.stop(this.conversation);
    this.#answer(addMessage(this.conversation, parent, "user", text));
    return true;
  }

  #answer(last) {
    const { conversation } = this;
    this.answering.start(conversation, last, {
      model: this.model, settings: this.settings.values, routing: this.experts_shown });
    this.answering.save(conversation);
    this.shelf.draw(conversation);
    this.#show();
    this.turns.toEnd();
    this.#drawPanel();
  }

  // Another answer to what `message`, an answer, replied to.
  #again(message) {
    if (!this.model) return;
    this.answering.stop(this.conversation);
    // An attempt that brought nothing leaves no alternative behind.
    const before = this.conversation.messages[message.parent];
    if (message.error && message.content === "") removeMessage(this.conversation, message);
    this.#answer(before);
  }

  #retryLast() {
    const last = shownPath(this.conversation).at(-1);
    if (last?.role === "assistant") this.#again(last);
  }

  #choose(message, step) {
    chooseSibling(this.conversation, message, step);
    this.answering.save(this.conversation);
    this.#show(true);
    this.#loadTraces();
  }

  #editLast() {
    const last = shownPath(this.conversation).findLast((message) => message.role === "user");
    if (last && !this.answering.isBusy(this.conversation)) this.turns.edit(last);
  }

  #proceed(text) {
    if (!this.model || text === "" || this.answering.isBusy(this.conversation)) return;
    const path = shownPath(this.conversation);
    if (path.length === 1 && path[0].content === text) {
      this.#answer(path[0]);
      return;
    }
    clearMessages(this.conversation);
    this.#answer(addMessage(this.conversation, null, "user", text));
  }

  // Keeps what was typed; the text is one piece again.
  #write(text) {
    clearMessages(this.conversation);
    if (text !== "") addMessage(this.conversation, null, "user", text);
    clearTimeout(this.write_timer);
    const { conversation } = this;
    this.write_timer = setTimeout(() => {
      this.answering.save(conversation);
      this.shelf.draw(this.conversation);
    }, 800);
    this.text.show(conversation, shownPath(conversation));
    this.#showTitle();
  }

  #takeBack(message) {
    removeMessage(this.conversation, message);
    this.answering.save(this.conversation);
    this.#show();
    this.#loadTraces();
  }

  #setSystem(text) {
    this.conversation.system = text;
    setPreference("system", text);
    if (this.library.conversations.has(this.conversation.id)) this.answering.save(this.conversation);
    this.#show();
  }

  #ended({ conversation, message }) {
    this.shelf.draw(this.conversation);
    if (conversation !== this.conversation) return;
    this.#show();
    if (conversation.kind === "chat") this.turns.tellEnd(message);
    this.#drawPanel();
  }

  // One update for all the pieces of a frame.
  #soon() {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const last = shownPath(this.conversation).at(-1);
      if (!last || !this.answering.generationOf(last)) return;
      if (this.conversation.kind === "text") this.text.update();
      else this.turns.update(last);
      if (this.experts_shown) this.#drawPanel();
    });
  }

  #show(fresh = false) {
    const path = shownPath(this.conversation);
    const text = this.conversation.kind === "text";
    byId("chat").hidden = text;
    byId("text").hidden = !text;
    byId("skip").setAttribute("href", text ? "#sheet" : "#message");
    if (text) this.text.show(this.conversation, path);
    else this.turns.show(this.conversation, path, fresh);
    showEmpty(byId("empty"), {
      shown: !text && path.length === 0,
      model: this.model,
      system: this.conversation.system,
      ask: (question) => this.#ask(null, question),
      editSystem: () => this.settings.open(this.model),
    });
    this.composer.setRunning(this.answering.isBusy(this.conversation));
    this.#showTitle();
  }

  #showTitle() {
    const title = displayTitle(this.conversation);
    setText(byId("title"), title);
    document.title = this.conversation.title ? `${title} – Cadre` : "Cadre";
  }

  #showSettingsCount() {
    byId("open-settings").classList.toggle("marked", this.settings.count > 0);
  }

  #nextTheme() {
    nextTheme();
    this.#showTheme();
    toast(`Theme: ${themeName()}`);
  }

  #showTheme() {
    const button = byId("toggle-theme");
    button.title = `Theme: ${themeName()}`;
    button.setAttribute("aria-label", `Theme: ${themeName()}. Change it`);
    button.dataset.theme = theme();
  }

  toggleExperts() {
    this.experts_shown = !this.experts_shown;
    setPreference("experts", this.experts_shown ? "on" : "off");
    this.#showExperts();
    this.#show(true);
    this.#loadTraces();
  }

  #showExperts() {
    byId("toggle-experts").setAttribute("aria-pressed", String(this.experts_shown));
    byId("experts").hidden = !this.experts_shown;
    document.body.classList.toggle("with-experts", this.experts_shown);
  }

  #panelChanged(what) {
    if (what === "close") {
      this.toggleExperts();
      byId("toggle-experts").focus();
    } else if (what === "layer") {
      this.turns.recolour(this.panel.layer);
      this.text.recolour(this.panel.layer);
    } else {
      this.#drawPanel();
    }
  }

  async #loadTraces() {
    if (!this.experts_shown) return;
    const { conversation } = this;
    const found = await this.answering.loadTraces(shownPath(conversation));
    if (conversation !== this.conversation) return;
    if (found) this.#show();
    this.#drawPanel();
  }

  #drawPanel() {
    if (!this.experts_shown) return;
    const answers = shownPath(this.conversation).filter((message) => message.role === "assistant");
    const traces = answers.map((message) => this.answering.traceOf(message)).filter((trace) => trace !== null);
    if (this.panel.scope === "answer") {
      this.panel.show(traces.at(-1) ?? null);
      return;
    }
    const sum = new RoutingTrace();
    for (const trace of traces) sum.addSums(trace);
    this.panel.show(sum);
  }
}

new App().start();
