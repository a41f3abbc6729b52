// One conversation: a tree of messages, of which one path is shown. Editing a message or trying an
// answer again adds a sibling, so nothing that was said is lost. Plain data and pure functions, so
// that a conversation can be stored and sent as it is.
//
// Conversation: {id, kind: "chat" | "text", title, named, created, updated, system, roots, root, messages}
// Message: {id, role, content, parent, children, chosen, finish, error, stats, model}
//   roots and children are ids in order of age; root and chosen say which of them is shown.
//   In kind "text" a user message is the text before, an assistant message what continues it.

const kVersion = 1;
const kTitleLength = 60;
const kFinishes = new Set(["stop", "length", "model_length", "tool_calls", "stopped", "error"]);

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newConversation(kind, system = "") {
  const now = Date.now();
  return {
    id: newId(), kind, title: "", named: false, created: now, updated: now, system,
    roots: [], root: null, messages: {},
  };
}

function emptyMessage() {
  return {
    id: newId(), role: "user", content: "", parent: null, children: [], chosen: null,
    finish: null, error: null, stats: null, model: null,
  };
}

// The messages from the first to the last one shown.
export function shownPath(conversation) {
  const path = [];
  let id = conversation.root;
  while (id !== null && conversation.messages[id]) {
    path.push(conversation.messages[id]);
    id = conversation.messages[id].chosen;
  }
  return path;
}

// Adds a message after `parent` (an id, or null for the first) and shows it.
export function addMessage(conversation, parent, role, content) {
  const message = { ...emptyMessage(), role, content, parent };
  conversation.messages[message.id] = message;
  if (parent === null) {
    conversation.roots.push(message.id);
    conversation.root = message.id;
  } else {
    conversation.messages[parent].children.push(message.id);
    conversation.messages[parent].chosen = message.id;
  }
  conversation.updated = Date.now();
  if (!conversation.named && role === "user") conversation.title = titleOf(shownPath(conversation)[0].content);
  return message;
}

// The alternatives of a message, itself among them.
export function siblings(conversation, message) {
  return message.parent === null ? conversation.roots : conversation.messages[message.parent].children;
}

// Shows the alternative `step` places further, if there is one; returns it.
export function chooseSibling(conversation, message, step) {
  const ids = siblings(conversation, message);
  const id = ids[ids.indexOf(message.id) + step];
  if (id === undefined) return message;
  if (message.parent === null) conversation.root = id;
  else conversation.messages[message.parent].chosen = id;
  return conversation.messages[id];
}

// Forgets everything said; the next text begins anew.
export function clearMessages(conversation) {
  conversation.roots = [];
  conversation.root = null;
  conversation.messages = {};
}

// Takes a message and all that follows it away; the nearest alternative is shown instead.
export function removeMessage(conversation, message) {
  const ids = siblings(conversation, message);
  const at = ids.indexOf(message.id);
  ids.splice(at, 1);
  const next = ids[Math.min(at, ids.length - 1)] ?? null;
  if (message.parent === null) conversation.root = next;
  else conversation.messages[message.parent].chosen = next;
  const gone = [message.id];
  while (gone.length > 0) {
    const id = gone.pop();
    gone.push(...conversation.messages[id].children);
    delete conversation.messages[id];
  }
}

// What the API wants to know to answer after `last`, a message of the user.
export function requestMessages(conversation, last) {
  const path = [];
  for (let at = last; at; at = at.parent === null ? null : conversation.messages[at.parent]) path.unshift(at);
  const messages = path
    .filter((message) => message.role === "user" || message.content !== "")
    .map(({ role, content }) => ({ role, content }));
  const system = conversation.system.trim();
  return system ? [{ role: "system", content: system }, ...messages] : messages;
}

export function titleOf(text) {
  const line = text.replace(/\s+/g, " ").trim();
  const letters = Array.from(line);
  return letters.length <= kTitleLength ? line : `${letters.slice(0, kTitleLength - 1).join("").trimEnd()}…`;
}

export function displayTitle(conversation) {
  return conversation.title || (conversation.kind === "text" ? "New text" : "New chat");
}

export function toFile(conversations) {
  return JSON.stringify({ format: "cadre conversations", version: kVersion, conversations }, null, 1);
}

// The conversations of a file that toFile wrote, each with a new id, so that nothing is overwritten.
// Throws an Error that says what is wrong with the file.
export function fromFile(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("the file is not JSON");
  }
  if (file?.format !== "cadre conversations" || !Array.isArray(file.conversations)) {
    throw new Error("the file holds no Cadre conversations");
  }
  if (file.version !== kVersion) throw new Error(`the file has version ${file.version} but must have ${kVersion}`);
  return file.conversations.map((conversation, index) => {
    try {
      return checked(conversation);
    } catch (error) {
      throw new Error(`conversation ${index + 1}: ${error.message}`);
    }
  });
}

function must(condition, what) {
  if (!condition) throw new Error(what);
}

const isText = (value) => typeof value === "string";
const timeOf = (value) => (Number.isFinite(value) && Math.abs(value) < 8e15 ? value : Date.now());

// A copy that holds what a conversation holds, and nothing else. Messages are reached from the roots,
// each once, so what comes out is a tree whatever came in.
function checked(from) {
  must(from && typeof from === "object", "is not an object");
  must(from.messages && typeof from.messages === "object" && Array.isArray(from.roots), "has no messages");
  const to = newConversation(from.kind === "text" ? "text" : "chat", isText(from.system) ? from.system : "");
  to.title = isText(from.title) ? titleOf(from.title) : "";
  to.named = from.named === true;
  to.created = timeOf(from.created);
  to.updated = timeOf(from.updated);
  const ids = new Map();
  const open = from.roots.map((id) => [id, null]);
  for (let i = 0; i < open.length; i++) {
    const [id, parent] = open[i];
    const message = Object.hasOwn(from.messages, id) ? from.messages[id] : null;
    must(message && typeof message === "object", `has no message ${String(id)}`);
    must(!ids.has(id), `names message ${String(id)} twice`);
    must(message.role === "user" || message.role === "assistant", `has a message of role ${String(message.role)}`);
    must(isText(message.content), "has a message without text");
    const made = { ...emptyMessage(), role: message.role, content: message.content, parent };
    ids.set(id, made);
    to.messages[made.id] = made;
    (parent === null ? to.roots : to.messages[parent].children).push(made.id);
    made.finish = kFinishes.has(message.finish) ? message.finish : null;
    made.error = isText(message.error) ? message.error : null;
    made.model = isText(message.model) ? message.model : null;
    made.stats = checkedStats(message.stats);
    for (const child of Array.isArray(message.children) ? message.children : []) open.push([child, made.id]);
  }
  const chosenOf = (id, all) => (all.includes(ids.get(id)?.id) ? ids.get(id).id : (all.at(-1) ?? null));
  to.root = chosenOf(from.root, to.roots);
  for (const [id, made] of ids) made.chosen = chosenOf(from.messages[id].chosen, made.children);
  return to;
}

function checkedStats(stats) {
  if (!stats || typeof stats !== "object") return null;
  const kept = {};
  for (const [name, value] of Object.entries(stats)) {
    if (Number.isFinite(value) || typeof value === "boolean") kept[name] = value;
  }
  return kept;
}
