// The conversations of this browser, in its IndexedDB: each one record, and the routing of each answer
// another, so that saving a conversation stays cheap. Where the browser keeps nothing (a private
// window, for instance) they live as long as the page.

const kName = "cadre";
const kVersion = 1;

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error ?? new Error("the browser gave up saving"));
  });
}

async function openDatabase() {
  const opening = indexedDB.open(kName, kVersion);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore("conversations", { keyPath: "id" });
    opening.result.createObjectStore("routing");
  };
  const database = await settled(opening);
  // Another tab with a newer page may upgrade; this one then goes on in memory.
  database.onversionchange = () => database.close();
  return database;
}

export class Library {
  #database = null;
  #channel = null;
  #routing = new Map();
  conversations = new Map();  // id -> conversation, the truth of this page

  // Reads everything; `changed(id)` is called when another tab has changed it, unless `busy(id)`.
  // Returns whether what is kept outlives the page.
  async open(changed, busy) {
    try {
      this.#database = await openDatabase();
      await this.#read();
      await this.#dropOrphans();
    } catch {
      this.#database = null;
      return false;
    }
    if ("BroadcastChannel" in globalThis) {
      this.#channel = new BroadcastChannel("cadre-conversations");
      this.#channel.onmessage = async ({ data }) => {
        if (busy(data)) return;
        await this.#reread(data);
        changed(data);
      };
    }
    return true;
  }

  async #read() {
    const all = await settled(this.#database.transaction("conversations").objectStore("conversations").getAll());
    this.conversations = new Map(all.map((conversation) => [conversation.id, conversation]));
  }

  // Routing of answers that are no more.
  async #dropOrphans() {
    const known = new Set(this.list().flatMap((conversation) => Object.keys(conversation.messages)));
    const keys = await settled(this.#database.transaction("routing").objectStore("routing").getAllKeys());
    const orphans = keys.filter((key) => !known.has(key));
    if (orphans.length > 0) await this.#write(["routing"], (stores) => orphans.forEach((key) => stores.routing.delete(key)));
  }

  async #reread(id) {
    const found = await settled(this.#database.transaction("conversations").objectStore("conversations").get(id));
    if (found) this.conversations.set(id, found);
    else this.conversations.delete(id);
  }

  // Newest first.
  list() {
    return [...this.conversations.values()].sort((a, b) => b.updated - a.updated);
  }

  async save(conversation) {
    this.conversations.set(conversation.id, conversation);
    await this.#write(["conversations"], (stores) => stores.conversations.put(conversation));
    this.#channel?.postMessage(conversation.id);
  }

  async remove(conversation) {
    this.conversations.delete(conversation.id);
    await this.#write(["conversations"], (stores) => stores.conversations.delete(conversation.id));
    this.#channel?.postMessage(conversation.id);
  }

  // After a while in which a removal can be undone.
  async forgetRouting(conversation) {
    const ids = Object.keys(conversation.messages);
    for (const id of ids) this.#routing.delete(id);
    await this.#write(["routing"], (stores) => ids.forEach((id) => stores.routing.delete(id)));
  }

  // The tokens of an answer with their experts, or null.
  async routingOf(id) {
    if (this.#routing.has(id)) return this.#routing.get(id);
    if (!this.#database) return null;
    const tokens = await settled(this.#database.transaction("routing").objectStore("routing").get(id)).catch(() => null);
    return tokens ?? null;
  }

  async saveRouting(id, tokens) {
    if (!this.#database) this.#routing.set(id, tokens);
    await this.#write(["routing"], (stores) => stores.routing.put(tokens, id));
  }

  async #write(names, change) {
    if (!this.#database) return;
    const transaction = this.#database.transaction(names, "readwrite");
    change(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
    await finished(transaction);
  }
}
