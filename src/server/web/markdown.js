// Markdown of an answer as DOM nodes: the blocks. The common part of CommonMark and GitHub's tables and
// task lists; HTML in an answer is shown as the text it is. parseBlocks is pure, renderBlock builds;
// MarkdownView keeps what has not changed while a text grows.

import { copyButton, element } from "./dom.js";
import { colourCode } from "./code_colours.js";
import { renderInline } from "./markdown_inline.js";

const kMaxDepth = 12;
const kFence = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const kHeading = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const kRule = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const kQuote = /^ {0,3}> ?/;
const kItem = /^( {0,3})([-*+]|(\d{1,9})[.)])([ \t]+|$)/;
const kUnderline = /^ {0,3}(=+|-{2,})[ \t]*$/;
const kTableRule = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const kIndent = /^(?: {4}|\t)/;

const blank = (line) => line.trim() === "";

// [{type, source, ...}]: type paragraph | heading | code | quote | list | table | rule.
export function parseBlocks(text, depth = 0) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (blank(lines[at])) {
      at++;
      continue;
    }
    const block = blockAt(lines, at, depth);
    block.source = lines.slice(at, block.end).join("\n");
    blocks.push(block);
    at = block.end;
  }
  if (depth === 0) setOutline(blocks, []);
  return blocks;
}

// A heading's place in the outline, from 1: a text that begins with ### or leaves a level out skips none for who listens to it.
function setOutline(blocks, open) {
  for (const block of blocks) {
    if (block.type === "heading") {
      while (open.at(-1) >= block.level) open.pop();
      block.outline = open.push(block.level);
    }
    setOutline(block.blocks ?? [], open);
    for (const item of block.items ?? []) setOutline(item.blocks, open);
  }
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  const fence = kFence.exec(line);
  if (fence) return fencedCode(lines, at, fence);
  if (kIndent.test(line)) return indentedCode(lines, at);
  const heading = kHeading.exec(line);
  if (heading) return { type: "heading", level: heading[1].length, text: headingText(line.slice(heading[0].length)), end: at + 1 };
  if (kRule.test(line)) return { type: "rule", end: at + 1 };
  if (depth < kMaxDepth) {
    if (kQuote.test(line)) return quote(lines, at, depth);
    if (kItem.test(line)) return list(lines, at, depth);
  }
  if (line.includes("|") && kTableRule.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
    const made = table(lines, at);
    if (made) return made;
  }
  return paragraph(lines, at, depth);
}

// Without the marks that may close a heading.
function headingText(text) {
  const trimmed = text.trim();
  const open = trimmed.replace(/#+$/, "");
  return open === "" || /[ \t]$/.test(open) ? open.trimEnd() : trimmed;
}

function fencedCode(lines, at, fence) {
  const mark = fence[1];
  const indent = /^ */.exec(lines[at])[0].length;
  const closing = new RegExp(`^ {0,3}${mark[0]}{${mark.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end++;
  const code = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, /^ */.exec(line)[0].length)));
  return { type: "code", language: fence[2].trim().split(/\s/)[0], text: code.join("\n"), end: Math.min(end + 1, lines.length) };
}

function indentedCode(lines, at) {
  let end = at;
  let last = at;
  while (end < lines.length && (kIndent.test(lines[end]) || blank(lines[end]))) {
    if (!blank(lines[end])) last = end;
    end++;
  }
  const code = lines.slice(at, last + 1).map((line) => line.replace(kIndent, ""));
  return { type: "code", language: "", text: code.join("\n"), end: last + 1 };
}

function quote(lines, at, depth) {
  const inner = [];
  let end = at;
  while (end < lines.length && (kQuote.test(lines[end]) || (!blank(lines[end]) && !startsBlock(lines[end])))) {
    inner.push(lines[end].replace(kQuote, ""));
    end++;
  }
  return { type: "quote", blocks: parseBlocks(inner.join("\n"), depth + 1), end };
}

// Whether a line ends a paragraph before it.
function startsBlock(line) {
  const item = kItem.exec(line);
  return kFence.test(line) || kHeading.test(line) || kRule.test(line) || kQuote.test(line) ||
    (item !== null && item[4] !== "" && (item[3] === undefined || item[3] === "1"));
}

function list(lines, at, depth) {
  const first = kItem.exec(lines[at]);
  const ordered = first[3] !== undefined;
  const mark = ordered ? first[2].at(-1) : first[2];
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    const item = kItem.exec(lines[end]);
    if (!item || (item[3] !== undefined) !== ordered || (ordered ? item[2].at(-1) : item[2]) !== mark) break;
    if (kRule.test(lines[end])) break;
    const body = itemLines(lines, end, item);
    items.push(body.lines.join("\n"));
    loose ||= body.gap;
    end = body.end;
    let next = end;
    while (next < lines.length && blank(lines[next])) next++;
    const following = next > end ? kItem.exec(lines[next] ?? "") : null;
    if (following && (following[3] !== undefined) === ordered) {
      loose = true;
      end = next;
    }
  }
  return {
    type: "list", ordered, loose, start: ordered ? Number(first[3]) : 1, end,
    items: items.map((text) => {
      const task = /^\[([ xX])\][ \t]+/.exec(text);
      return {
        task: task ? task[1] !== " " : null,
        blocks: parseBlocks(task ? text.slice(task[0].length) : text, depth + 1),
      };
    }),
  };
}

// The lines of one item without its mark and indentation; `gap`: whether a blank line stands among them.
function itemLines(lines, at, item) {
  const spaces = item[4].length > 4 || item[4] === "" ? 1 : item[4].length;
  const indent = item[1].length + item[2].length + spaces;
  const body = [lines[at].slice(Math.min(indent, lines[at].length))];
  let gap = false;
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end];
    if (blank(line)) {
      let next = end;
      while (next < lines.length && blank(lines[next])) next++;
      if (next === lines.length || indentOf(lines[next]) < Math.min(indent, 2)) break;
      if (indentOf(lines[next]) < indent && kItem.test(lines[next])) break;
      gap = true;
      for (; end < next; end++) body.push("");
      continue;
    }
    const depth = indentOf(line);
    if (depth >= indent) body.push(unindent(line, indent));
    // Models often indent nested items by two spaces only, whatever the mark's width.
    else if (depth >= 2 && kItem.test(line.trimStart())) body.push(unindent(line, 2));
    else if (startsBlock(line) || kItem.test(line)) break;
    else body.push(line.trimStart());
    end++;
  }
  return { lines: body, gap, end };
}

const indentOf = (line) => /^[ \t]*/.exec(line)[0].replaceAll("\t", "    ").length;
const unindent = (line, count) => {
  const spread = line.replace(/^[ \t]*/, (space) => space.replaceAll("\t", "    "));
  return spread.slice(Math.min(count, indentOf(spread)));
};

function cells(line) {
  const row = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, at) {
  const head = cells(lines[at]);
  const sides = cells(lines[at + 1]).map((rule) => {
    if (rule.endsWith(":")) return rule.startsWith(":") ? "center" : "right";
    return "left";
  });
  if (head.length !== sides.length) return null;
  const rows = [];
  let end = at + 2;
  while (end < lines.length && !blank(lines[end]) && lines[end].includes("|")) {
    const row = cells(lines[end]).slice(0, head.length);
    while (row.length < head.length) row.push("");
    rows.push(row);
    end++;
  }
  return { type: "table", head, sides, rows, end };
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && !blank(lines[end])) {
    const underline = kUnderline.exec(lines[end]);
    if (underline) {
      const text = lines.slice(at, end).join("\n");
      return { type: "heading", level: underline[1][0] === "=" ? 1 : 2, text, end: end + 1 };
    }
    if (startsBlock(lines[end]) && depth < kMaxDepth) break;
    end++;
  }
  return { type: "paragraph", text: lines.slice(at, end).map((line) => line.trimStart()).join("\n"), end };
}

function renderTable(block) {
  const cell = (tag, text, column) =>
    element(tag, { class: `to-${block.sides[column]}`, scope: tag === "th" ? "col" : null }, ...renderInline(text));
  return element("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Table" },
    element("table", {},
      element("thead", {}, element("tr", {}, ...block.head.map((text, column) => cell("th", text, column)))),
      element("tbody", {}, ...block.rows.map((row) =>
        element("tr", {}, ...row.map((text, column) => cell("td", text, column)))))));
}

function renderCode(block) {
  const name = block.language.slice(0, 30);
  return element("figure", { class: "code", dir: "ltr" },
    element("figcaption", {}, element("span", {}, name || "code"), copyButton("Copy code", () => block.text)),
    element("pre", { tabindex: "0", role: "group", "aria-label": name ? `Code, ${name}` : "Code" },
      element("code", {}, ...colourCode(block.text, block.language))));
}

function renderList(block) {
  const items = block.items.map((item) => {
    const tight = !block.loose && item.blocks[0]?.type === "paragraph";
    const content = item.blocks.flatMap((child, index) =>
      (tight && index === 0 ? renderInline(child.text) : [renderBlock(child)]));
    const box = item.task === null ? null
      : element("input", { type: "checkbox", disabled: true, checked: item.task, "aria-label": item.task ? "done" : "to do" });
    return element("li", { class: box ? "task" : null }, box, ...content);
  });
  return element(block.ordered ? "ol" : "ul", { dir: "auto", start: block.ordered && block.start !== 1 ? block.start : null }, ...items);
}

export function renderBlock(block) {
  switch (block.type) {
    // The page's own headings are h1 and h2.
    case "heading": return element(`h${Math.min(6, block.outline + 2)}`, { dir: "auto", class: `level-${block.level}` },
      ...renderInline(block.text));
    case "code": return renderCode(block);
    case "rule": return element("hr");
    case "quote": return element("blockquote", { dir: "auto" }, ...block.blocks.map(renderBlock));
    case "list": return renderList(block);
    case "table": return renderTable(block);
    default: return element("p", { dir: "auto" }, ...renderInline(block.text));
  }
}

// Shows a growing text in `target`, building only the blocks that changed.
export class MarkdownView {
  #shown = [];  // sources of the blocks that are there

  constructor(target) {
    this.target = target;
  }

  // Returns the blocks of the text, so that who wants to know which are complete need not parse again.
  update(text) {
    const blocks = parseBlocks(text);
    let same = 0;
    while (same < blocks.length && same < this.#shown.length && blocks[same].source === this.#shown[same]) same++;
    while (this.target.childElementCount > same) this.target.lastElementChild.remove();
    for (const block of blocks.slice(same)) this.target.append(renderBlock(block));
    this.#shown = blocks.map((block) => block.source);
    return blocks;
  }
}
