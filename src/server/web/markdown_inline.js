// The inside of a paragraph: emphasis, code, links, escapes, as CommonMark has them. Gives DOM nodes
// made one by one; text of the model is never parsed as markup. Only http and https links are links;
// pictures are shown as links, because the page fetches nothing from elsewhere.

import { element } from "./dom.js";

const kPunctuation = /[!-/:-@[-`{-~\p{P}\p{S}]/u;
const kEntities = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&nbsp;": "\u00a0", "&#39;": "'" };
const kPlain = /[^\\`*_~[\]!<&\nh]+/y;
const kUrl = /https?:\/\/[^\s<>"`]+/y;
const kAutolink = /<(https?:\/\/[^\s<>]*)>/y;
const kBreak = /<br\s*\/?>/iy;
const kEntity = /&(?:amp|lt|gt|quot|nbsp|#39);/y;
const kDestination = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"[^"\n]*"|'[^'\n]*'))?\s*\)/y;

// How far back the opener of a run is looked for: keeps the time linear whatever the text.
const kMaxOpenRuns = 32;

function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function safeUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

function link(url, ...children) {
  const href = safeUrl(url);
  if (href === null) return null;
  return element("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
}

// A run of * or _ or ~~ that may open or close emphasis, until it is known which.
class Run {
  constructor(mark, count, before, after) {
    this.mark = mark;
    this.count = count;
    const space_after = after === "" || /\s/.test(after);
    const space_before = before === "" || /\s/.test(before);
    const left = !space_after && (!kPunctuation.test(after) || space_before || kPunctuation.test(before));
    const right = !space_before && (!kPunctuation.test(before) || space_after || kPunctuation.test(after));
    // snake_case is no emphasis.
    this.opens = left && (mark !== "_" || !right || kPunctuation.test(before));
    this.closes = right && (mark !== "_" || !left || kPunctuation.test(after));
  }
}

// An opening bracket, until a link closes it.
class Bracket {
  constructor(text) {
    this.text = text;
  }
}

// Replaces matching runs in parts[from..] by elements; what is left over becomes text.
function resolveEmphasis(parts, from) {
  const open = [];  // indices of runs that may still open
  const done = parts.slice(0, from);
  for (let i = from; i < parts.length; i++) {
    const part = parts[i];
    if (!(part instanceof Run)) {
      done.push(part);
      continue;
    }
    while (part.closes && part.count > 0) {
      const farthest = Math.max(0, open.length - kMaxOpenRuns);
      let at = open.length - 1;
      while (at >= farthest && done[open[at]].mark !== part.mark) at--;
      if (at < farthest) break;
      const opener = done[open[at]];
      const strike = part.mark === "~";
      if (strike && (opener.count < 2 || part.count < 2)) break;
      const used = opener.count >= 2 && part.count >= 2 ? 2 : 1;
      const inner = done.splice(open[at] + 1).map(asNode);
      open.length = at + 1;
      done.push(element(strike ? "s" : used === 2 ? "strong" : "em", {}, ...inner));
      opener.count -= used;
      part.count -= used;
      if (opener.count === 0) {
        done.splice(open[at], 1);
        open.length = at;
      }
    }
    if (part.count === 0) continue;
    done.push(part);
    if (part.opens) open.push(done.length - 1);
  }
  return done.map(asNode);
}

function asNode(part) {
  if (part instanceof Bracket) return document.createTextNode(part.text);
  return part instanceof Run ? document.createTextNode(part.mark.repeat(part.count)) : part;
}

class Inline {
  #parts = [];
  #brackets = [];  // {at: index in parts, picture}
  #text = "";

  #add(text) {
    const last = this.#parts.at(-1);
    if (last instanceof Text) last.data += text;
    else this.#parts.push(document.createTextNode(text));
  }

  parse(text) {
    this.#text = text;
    let at = 0;
    while (at < text.length) at = this.#next(at);
    return resolveEmphasis(this.#parts, 0);
  }

  #next(at) {
    const text = this.#text;
    const plain = match(kPlain, text, at);
    if (plain) {
      this.#add(plain[0]);
      return at + plain[0].length;
    }
    switch (text[at]) {
      case "\\": return this.#escape(at);
      case "`": return this.#code(at);
      case "*": case "_": case "~": return this.#run(at);
      case "!":
        if (text[at + 1] === "[") return this.#open(at, 2);
        break;
      case "[": return this.#open(at, 1);
      case "]": return this.#close(at);
      case "<": return this.#angle(at);
      case "&": {
        const entity = match(kEntity, text, at);
        if (entity) {
          this.#add(kEntities[entity[0]]);
          return at + entity[0].length;
        }
        break;
      }
      case "h": {
        const end = this.#bareUrl(at);
        if (end > at) return end;
        break;
      }
      case "\n": {
        const last = this.#parts.at(-1);
        const hard = last instanceof Text && / {2,}$/.test(last.data);
        if (last instanceof Text) last.data = last.data.trimEnd();
        if (hard) this.#parts.push(element("br"));
        else this.#add("\n");
        return at + 1;
      }
      default:
    }
    this.#add(text[at]);
    return at + 1;
  }

  #escape(at) {
    const next = this.#text[at + 1] ?? "";
    if (next === "\n") {
      this.#parts.push(element("br"));
      return at + 2;
    }
    if (/[!-/:-@[-`{-~]/.test(next)) {
      this.#add(next);
      return at + 2;
    }
    this.#add("\\");
    return at + 1;
  }

  #code(at) {
    let count = 1;
    while (this.#text[at + count] === "`") count++;
    const fence = "`".repeat(count);
    let end = this.#text.indexOf(fence, at + count);
    while (end >= 0 && this.#text[end + count] === "`") {
      while (this.#text[end] === "`") end++;
      end = this.#text.indexOf(fence, end);
    }
    if (end < 0) {
      this.#add(fence);
      return at + count;
    }
    let code = this.#text.slice(at + count, end).replaceAll("\n", " ");
    if (/^ .*[^ ].* $/.test(code)) code = code.slice(1, -1);
    this.#parts.push(element("code", {}, code));
    return end + count;
  }

  #run(at) {
    const mark = this.#text[at];
    let count = 1;
    while (this.#text[at + count] === mark) count++;
    if (mark === "~" && count !== 2) this.#add(mark.repeat(count));
    else this.#parts.push(new Run(mark, count, this.#text[at - 1] ?? "", this.#text[at + count] ?? ""));
    return at + count;
  }

  #open(at, length) {
    this.#brackets.push({ at: this.#parts.length, picture: length === 2 });
    this.#parts.push(new Bracket(this.#text.slice(at, at + length)));
    return at + length;
  }

  #close(at) {
    const bracket = this.#brackets.pop();
    const destination = bracket && match(kDestination, this.#text, at + 1);
    if (!destination) {
      this.#add("]");
      return at + 1;
    }
    const url = (destination[1] ?? destination[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1");
    const inside = resolveEmphasis(this.#parts.splice(bracket.at).slice(1), 0);
    const made = link(url, ...(inside.length > 0 ? inside : [url]));
    if (made) {
      if (bracket.picture) made.prepend("Picture: ");
      this.#parts.push(made);
      // No link within a link.
      this.#brackets = [];
    } else {
      this.#parts.push(...inside, document.createTextNode(` (${url})`));
    }
    return at + 1 + destination[0].length;
  }

  #angle(at) {
    const auto = match(kAutolink, this.#text, at);
    const made = auto && link(auto[1], auto[1]);
    if (made) {
      this.#parts.push(made);
      return at + auto[0].length;
    }
    const line_break = match(kBreak, this.#text, at);
    if (line_break) {
      this.#parts.push(element("br"));
      return at + line_break[0].length;
    }
    this.#add("<");
    return at + 1;
  }

  // The end of a bare address at `at`, which becomes a link; `at` where there is none.
  #bareUrl(at) {
    if (this.#brackets.length > 0 || /[\p{L}\p{N}]/u.test(this.#text[at - 1] ?? "")) return at;
    const found = match(kUrl, this.#text, at);
    if (!found) return at;
    let url = found[0].replace(/[.,;:!?'*_~\]]+$/, "");
    while (url.endsWith(")") && url.split(")").length > url.split("(").length) url = url.slice(0, -1);
    const made = link(url, url);
    if (!made) return at;
    this.#parts.push(made);
    return at + url.length;
  }
}

// The nodes of a text that stands on its own: a paragraph, a heading, the cell of a table.
export function renderInline(text) {
  return new Inline().parse(text.trim());
}
