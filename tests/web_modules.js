// What the page's modules promise, run within the page by web_test.py. Returns the promises not kept.
const { EventParser } = await import("/event_stream.js");
const { MarkdownView, parseBlocks, renderBlock } = await import("/markdown.js");
const { RoutingTrace, TokenAligner, rankedExperts } = await import("/routing.js");
const conversations = await import("/conversation.js");

const failures = [];
function same(found, wanted, promise) {
  const text = JSON.stringify(found);
  if (text !== JSON.stringify(wanted)) failures.push(`${promise}: found ${text}, wanted ${JSON.stringify(wanted)}`);
}
function throws(action, says, promise) {
  try {
    action();
    failures.push(`${promise}: nothing was thrown`);
  } catch (error) {
    if (!error.message.includes(says)) failures.push(`${promise}: ${error.message}`);
  }
}

// Events, however they are cut, with every kind of line end.
for (const end of ["\n", "\r\n", "\r"]) {
  const stream = [": comment", "", "data: {\"a\":1}", "", "event: x", "data:b", "data: c", "", "data: [DONE]", "", ""].join(end);
  for (const size of [1, 2, 3, 7, 1000]) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < stream.length; at += size) events.push(...parser.push(stream.slice(at, at + size)));
    same(events, ['{"a":1}', "b\nc", "[DONE]"], `events with line end ${JSON.stringify(end)} in pieces of ${size}`);
  }
}

// Markdown.
function html(text) {
  const target = document.createElement("div");
  target.append(...parseBlocks(text).map(renderBlock));
  for (const node of target.querySelectorAll("*")) {
    for (const name of ["class", "dir", "rel", "target"]) node.removeAttribute(name);
  }
  return target.innerHTML;
}
const kMarkdown = [
  ["*a* **b** ***c*** ~~d~~ _e_ snake_case_word 2*3*4", "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <s>d</s> <em>e</em> snake_case_word 2<em>3</em>4</p>"],
  ["**open and `code with **`", "<p>**open and <code>code with **</code></p>"],
  ["``a ` b``", "<p><code>a ` b</code></p>"],
  ["a  \nb\\\nc\nd", "<p>a<br>b<br>c\nd</p>"],
  ["# One #\n\nTwo\n---", "<h3>One</h3><h4>Two</h4>"],
  ["### One\n\n##### Two\n\n> # Three\n\n### Four", "<h3>One</h3><h4>Two</h4><blockquote><h3>Three</h3></blockquote><h4>Four</h4>"],
  ["- a\n- b\n  - c\n\ntext", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>text</p>"],
  ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
  ["1. a\n\n   more\n2. b", "<ol><li><p>a</p><p>more</p></li><li><p>b</p></li></ol>"],
  ["> a\nb\n> - c", "<blockquote><p>a\nb</p><ul><li>c</li></ul></blockquote>"],
  ["[a *b*](https://example.org/x \"t\") ![p](http://example.org/)", '<p><a href="https://example.org/x">a <em>b</em></a> <a href="http://example.org/">Picture: p</a></p>'],
  ["[a](javascript:alert(1)) [b](data:text/html,x) [c](/local)", "<p>a (javascript:alert(1)) b (data:text/html,x) c (/local)</p>"],
  ["see https://example.org/a_(b). <https://example.org/>", '<p>see <a href="https://example.org/a_(b)">https://example.org/a_(b)</a>. <a href="https://example.org/">https://example.org/</a></p>'],
  ["<img src=x onerror=alert(1)><script>x</script> &lt;", "<p>&lt;img src=x onerror=alert(1)&gt;&lt;script&gt;x&lt;/script&gt; &lt;</p>"],
  ["\\*a\\* [b] ]", "<p>*a* [b] ]</p>"],
  ["***\n\n___", "<hr><hr>"],
];
for (const [text, wanted] of kMarkdown) same(html(text), wanted, `Markdown ${JSON.stringify(text)}`);
same(parseBlocks("| a | b |\n|:-:|--:|\n| 1 \\| 2 | 3 |\n| 4 |").map(({ type, head, sides, rows }) => ({ type, head, sides, rows })),
  [{ type: "table", head: ["a", "b"], sides: ["center", "right"], rows: [["1 | 2", "3"], ["4", ""]] }], "tables");
same(parseBlocks("```js\nlet a;\n\n~~~\n").map(({ type, language, text }) => ({ type, language, text })),
  [{ type: "code", language: "js", text: "let a;\n\n~~~\n" }], "an open fence takes all that follows");

// A growing text ends as the same text at once, and never breaks on the way.
const kLong = "Intro *a*\n\n1. x\n\n   ```py\n   def f(): pass\n   ```\n2. y **z**\n\n| a | b |\n|---|---|\n| c | d |\n\n> q\n\nEnd [l](https://example.org/).";
const grown = document.createElement("div");
const at_once = document.createElement("div");
const view = new MarkdownView(grown);
for (let length = 1; length <= kLong.length; length++) view.update(kLong.slice(0, length));
new MarkdownView(at_once).update(kLong);
same(grown.innerHTML, at_once.innerHTML, "a text that grew is shown like one that came at once");

// Hostile texts take no time.
for (const piece of ["*_", "[", "![", "> ", "- ", "`a", "**a ", "[a](", "|-", "<", "&", "1. ", "_a*b", "# ", "#  \t", "a\n", "- a\n"]) {
  const begin = performance.now();
  html(piece.repeat(4000 / piece.length));
  const took = performance.now() - begin;
  if (took > 5000) failures.push(`${JSON.stringify(piece)} repeated takes ${took} ms`);
}

// Routing.
const token = (text, experts, gates) => ({ id: 1, text, experts, gates, entropy: experts.map(() => 1) });
const trace = new RoutingTrace([token("a", [[1, 0], [2]], [[0.7, 0.3], [1]]), token("b", [[1], [3]], [[1], [1]]), token("c", [], [])]);
same([trace.layers, trace.experts, trace.tokens_counted, trace.choices], [2, 4, 2, 5], "sums of a trace");
same([trace.count(0, 1), trace.count(-1, 1), trace.count(1, 3), trace.count(1, 0)], [2, 2, 1, 0], "counts of a trace");
same(rankedExperts(trace.tokens[0], 0), [{ expert: 1, weight: 0.7 }, { expert: 0, weight: 0.3 }], "experts of a layer by gate");
same(rankedExperts(trace.tokens[0], -1).map(({ expert }) => expert), [2, 1, 0], "experts of all layers by weight");
new RoutingTrace([null, {}, { text: 1, experts: [] }, { text: "", experts: [[-1]] }, { text: "", experts: [[1e9]] }]).tokens.length === 0 ||
  failures.push("tokens that make no sense are left out");
const aligner = new TokenAligner();
const kText = "Hi 🚀 there";
same([" Hi", " ", "\ufffd", "\ufffd", "\ufffd", "\ufffd", " there"].flatMap((text) => aligner.take({ text }, kText)),
  ["Hi", " ", "", "", "", "🚀", " there"], "bytes of a character are aligned with it");

// Conversations.
const chat = conversations.newConversation("chat", "Be brief.");
const first = conversations.addMessage(chat, null, "user", "one");
const answer = conversations.addMessage(chat, first.id, "assistant", "two");
conversations.addMessage(chat, answer.id, "user", "three");
const other = conversations.addMessage(chat, first.id, "assistant", "zwei");
same(conversations.shownPath(chat).map(({ content }) => content), ["one", "zwei"], "the newest alternative is shown");
same(conversations.chooseSibling(chat, other, -1) === answer && conversations.shownPath(chat).length, 3, "the older one can be chosen again");
same(conversations.requestMessages(chat, first), [{ role: "system", content: "Be brief." }, { role: "user", content: "one" }], "what is sent");
const [copy] = conversations.fromFile(conversations.toFile([chat]));
same(conversations.shownPath(copy).map(({ content }) => content), ["one", "two", "three"], "a file brings a conversation back");
if (copy.id === chat.id) failures.push("an import never overwrites");
throws(() => conversations.fromFile("{"), "not JSON", "broken files are refused");
throws(() => conversations.fromFile("{}"), "no Cadre conversations", "other files are refused");
const cycle = JSON.parse(conversations.toFile([chat]));
Object.values(cycle.conversations[0].messages)[0].children.push(first.id);
throws(() => conversations.fromFile(JSON.stringify(cycle)), "twice", "messages in a circle are refused");

return failures;
