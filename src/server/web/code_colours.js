// Quiet colours for code: comments, strings, numbers and the common keywords, without knowing the
// language exactly. Code it does not understand stays plain; the text is never changed.

import { element } from "./dom.js";

const kHashComments = new Set(["py", "python", "sh", "bash", "shell", "zsh", "rb", "ruby", "yaml", "yml", "toml", "r", "perl",
  "pl", "make", "makefile", "cmake", "dockerfile", "ini", "conf", "julia", "elixir", "nix"]);
const kDashComments = new Set(["sql", "lua", "haskell", "hs", "ada", "elm"]);
const kPlain = new Set(["", "text", "txt", "plain", "plaintext", "console", "output", "log", "markdown", "md", "diff", "csv"]);
const kKeywords = new Set(`abstract and as async await begin bool break case catch char class const constexpr continue def default
  del delete do double elif else end enum except export extends extern false final finally float fn for from func function global
  go if impl import in include inline int interface is lambda let local long loop match mod module mut namespace new nil none None
  not null nullptr of or override package pass private protected pub public raise ref repeat return select self short signed
  sizeof static struct super switch template then this throw trait true True False try type typedef typename typeof union
  unsigned until use using val var virtual void where while with yield SELECT FROM WHERE INSERT UPDATE DELETE CREATE TABLE JOIN
  LEFT RIGHT INNER OUTER ON GROUP BY ORDER LIMIT VALUES INTO SET AND OR NOT NULL AS DISTINCT HAVING UNION`.split(/\s+/));
const kMaxLength = 100000;

function patternFor(language) {
  let comment = String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;
  if (kHashComments.has(language)) comment = String.raw`#[^\n]*`;
  else if (kDashComments.has(language)) comment = String.raw`--[^\n]*`;
  else if (["html", "xml", "svg"].includes(language)) comment = String.raw`<!--[\s\S]*?(?:-->|$)`;
  const triple = String.raw`"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)`;
  const string = `${triple}|` + String.raw`"(?:[^"\\\n]|\\[\s\S])*"?|'(?:[^'\\\n]|\\[\s\S])*'|` + "`(?:[^`\\\\]|\\\\[\\s\\S])*`";
  const number = String.raw`\b(?:0[xX][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\b`;
  return new RegExp(`(${comment})|(${string})|(${number})|([A-Za-z_]\\w*)`, "g");
}

// Nodes that together hold exactly `text`.
export function colourCode(text, language) {
  const name = language.toLowerCase();
  if (kPlain.has(name) || text.length > kMaxLength) return [text];
  const nodes = [];
  let plain = 0;
  for (const found of text.matchAll(patternFor(name))) {
    const [, comment, string, number, word] = found;
    let kind = null;
    if (comment !== undefined) kind = "comment";
    else if (string !== undefined) kind = "string";
    else if (number !== undefined) kind = "number";
    else if (kKeywords.has(word)) kind = "keyword";
    if (kind === null) continue;
    if (found.index > plain) nodes.push(text.slice(plain, found.index));
    nodes.push(element("span", { class: `c-${kind}` }, found[0]));
    plain = found.index + found[0].length;
  }
  if (plain < text.length) nodes.push(text.slice(plain));
  return nodes;
}
