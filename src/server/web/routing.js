// What the router chose for the tokens of an answer, and sums over them. Pure data.
//
// A token as the API gives it: {id, text, experts: [layer][choice], gates: [layer][choice],
// entropy: [layer]}; layers may choose different numbers of experts, and the last token of an answer,
// which the model never read, has no layers. Entropies are in nats.

const isCount = (value) => Number.isInteger(value) && value >= 0 && value < 4096;

function usable(token) {
  return token !== null && typeof token === "object" && typeof token.text === "string" && Array.isArray(token.experts) &&
    token.experts.every((chosen) => Array.isArray(chosen) && chosen.every(isCount));
}

export class RoutingTrace {
  tokens = [];
  layers = 0;
  experts = 0;
  counts = [];  // [layer][expert]: tokens that went there
  entropies = [];  // [layer]: sum over tokens
  tokens_counted = 0;
  choices = 0;  // experts that worked, over all tokens and layers

  constructor(tokens = [], experts = 0) {
    this.experts = experts;
    this.add(tokens);
  }

  add(tokens) {
    for (const token of tokens) {
      if (!usable(token)) continue;
      this.tokens.push(token);
      if (token.experts.length > 0) this.tokens_counted += 1;
      token.experts.forEach((chosen, layer) => this.#count(token, chosen, layer));
    }
  }

  #count(token, chosen, layer) {
    if (layer >= this.layers) {
      this.layers = layer + 1;
      this.counts.push([]);
      this.entropies.push(0);
    }
    this.entropies[layer] += token.entropy?.[layer] ?? 0;
    this.choices += chosen.length;
    for (const expert of chosen) {
      if (expert >= this.experts) this.experts = expert + 1;
      this.counts[layer][expert] = (this.counts[layer][expert] ?? 0) + 1;
    }
  }

  // Adds what another trace counted; its tokens are not taken over.
  addSums(other) {
    this.experts = Math.max(this.experts, other.experts);
    this.tokens_counted += other.tokens_counted;
    this.choices += other.choices;
    for (let layer = 0; layer < other.layers; layer++) {
      if (layer >= this.layers) {
        this.layers = layer + 1;
        this.counts.push([]);
        this.entropies.push(0);
      }
      this.entropies[layer] += other.entropies[layer];
      other.counts[layer].forEach((count, expert) => {
        this.counts[layer][expert] = (this.counts[layer][expert] ?? 0) + count;
      });
    }
  }

  // How often an expert was chosen in a layer, or in all of them for layer -1.
  count(layer, expert) {
    if (layer >= 0) return this.counts[layer]?.[expert] ?? 0;
    return this.counts.reduce((sum, row) => sum + (row[expert] ?? 0), 0);
  }
}

// The experts of a token in order of weight: those of one layer, or for layer -1 by how much they
// weighed over all layers. [{expert, weight}], weights of a layer add to 1, of all layers to 1.
export function rankedExperts(token, layer) {
  const gate = (at, choice) => token.gates?.[at]?.[choice] ?? 1 / token.experts[at].length;
  if (layer >= 0) {
    const chosen = token.experts[layer] ?? [];
    return chosen.map((expert, choice) => ({ expert, weight: gate(layer, choice) })).sort((a, b) => b.weight - a.weight);
  }
  const weights = new Map();
  token.experts.forEach((chosen, at) => chosen.forEach((expert, choice) => {
    weights.set(expert, (weights.get(expert) ?? 0) + gate(at, choice) / token.experts.length);
  }));
  return [...weights].map(([expert, weight]) => ({ expert, weight }))
    .sort((a, b) => b.weight - a.weight || a.expert - b.expert);
}

// Cuts a text into what its tokens wrote: for each token its part, as far as it is known, and the rest.
// A token may be single bytes of a character; the character then goes to the last of its bytes.
export class TokenAligner {
  #at = 0;  // characters of the text that were given to tokens
  #open = 0;  // tokens since then that wrote bytes of a character

  // The parts of the tokens that `token` settles: its own, after those of the bytes before it; none while it cannot be told.
  take(token, text) {
    const blank = this.#at === 0 && token.text.startsWith(" ") && !text.startsWith(" ");
    const own = blank ? token.text.slice(1) : token.text;
    if (this.#open === 0 && text.startsWith(own, this.#at)) {
      this.#at += own.length;
      return [own];
    }
    const found = own === "" || own.includes("\ufffd") ? -1 : text.indexOf(own, this.#at);
    if (found < 0 || found > this.#at + 2 * (this.#open + 1)) {
      this.#open += 1;
      return [];
    }
    const parts = Array(this.#open).fill("");
    const between = text.slice(this.#at, found);
    if (parts.length > 0) parts[parts.length - 1] = between;
    this.#open = 0;
    this.#at = found + own.length;
    return [...parts, parts.length > 0 ? own : between + own];
  }

  rest(text) {
    return text.slice(this.#at);
  }
}
