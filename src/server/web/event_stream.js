// Server-sent events out of pieces of text: what stands in the data fields of each whole event.
// Accepts \n, \r and \r\n; ignores comments and other fields.

export class EventParser {
  #rest = "";
  #data = [];
  #after_cr = false;

  // The data of the events that are complete with this piece.
  push(piece) {
    const events = [];
    let text = this.#rest + piece;
    if (this.#after_cr && text.startsWith("\n")) text = text.slice(1);
    if (text) this.#after_cr = false;
    let begin = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c !== "\n" && c !== "\r") continue;
      this.#line(text.slice(begin, i), events);
      if (c === "\r") {
        if (i + 1 === text.length) this.#after_cr = true;
        else if (text[i + 1] === "\n") i++;
      }
      begin = i + 1;
    }
    this.#rest = text.slice(begin);
    return events;
  }

  #line(line, events) {
    if (line === "") {
      if (this.#data.length > 0) events.push(this.#data.join("\n"));
      this.#data = [];
    } else if (line.startsWith("data:")) {
      this.#data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}

// The data of each event of a body, as it comes.
export async function* readEvents(body) {
  const parser = new EventParser();
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
