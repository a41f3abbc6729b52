#!/usr/bin/env python3
"""A GGUF file of Mixtral 8x7B's exact shapes with random weights, whose routers repeat experts as often as published.

Usage: make_synthetic_mixtral.py --tokenizer TOKENIZER.model --text TEXT.txt --out OUT.gguf [--layers 32] [--type Q4_0|Q4_K|Q2_K]
       make_synthetic_mixtral.py --check ROUTING.json   (of `cadre logits --routing`: the repeat rates of each layer)

For measuring caches of experts: with plain random weights neighbouring tokens share experts only by chance. synthetic_routing.py says how
routers and attention are made instead, and which rates they reach. The text is one that will be run; the rates are fitted to it and to
random ids together, since benchmarks feed random ids. Experts are random and write little. The head names, whatever the context, for
each id a successor along one cycle through all pieces of text, so that greedy text never loops and is the same in every program.
The experts have the type that is asked for; attention's query, output and the embedding are Q4_0, its key and value and the head Q8_0
whatever the type, the routers F32. --layers 32 takes 26.4 GB of Q4_0. Needs numpy, gguf and sentencepiece.
"""

import argparse
import functools
import json
import pathlib

import gguf
import numpy as np
import sentencepiece
import synthetic_routing as routing
from gguf import GGMLQuantizationType as Type

WIDTH, VOCAB, HEAD = routing.WIDTH, routing.VOCAB, routing.HEAD
HIDDEN, EXPERTS, HEADS, KV_HEADS = 14336, routing.EXPERTS, 32, 8
HEADS_PER_KV = HEADS // KV_HEADS
SPIKE_HEAD, PREVIOUS_HEAD, OWN_HEAD = 5, 6, 7  # of keys and values; those before them take the running mean
DEVIATION = {"gate": 0.02, "up": 0.02, "down": 8e-5}  # of an expert's weights: its output is a hundredth of an embedding
HEAD_SCALE = 0.02
NUM_FITTED = 6000  # tokens of the text's beginning, and random ones

# Bytes of a block of random levels and scales, and where its 16-bit scales stand: [(first byte, times the deviation)].
BLOCKS = {
    Type.Q4_0: (32, 18, [(0, 1 / 4.6)]),
    Type.Q4_K: (256, 144, [(0, 1 / 220), (2, 7.5 / 220)]),
    Type.Q2_K: (256, 84, [(80, 1 / 14), (82, 1.5 / 14)]),
}


def random_rows(kind, cols, deviation, rng):
    """A pool of rows, as bytes, to draw a matrix from. The levels of a block have a mean; half of the blocks are negated, or all experts
    would write the same constant, which adds up layer by layer and makes some experts popular."""
    values, size, scales = BLOCKS[kind]
    blocks = rng.integers(0, 256, (257, cols // values, size), dtype=np.uint8)
    signs = rng.choice([-1, 1], (257, cols // values, 1))
    for first, share in scales:
        blocks[:, :, first : first + 2] = (signs * (share * deviation)).astype(np.float16).view(np.uint8)
    return blocks.reshape(257, -1)


def query_key(kind, turn=0.0):
    """[HEAD]: what the query (turned by positions) or key of a head is for every token."""
    out = np.zeros(HEAD, np.float32)
    size = np.sqrt(routing.query_key_scale(kind))
    # GGUF keeps the pairs that RoPE turns side by side.
    out[0::2], out[1::2] = size * np.cos(turn * routing.frequencies()), -size * np.sin(turn * routing.frequencies())
    return out


ATTENTION = {
    "q": (HEADS * HEAD, WIDTH, Type.Q4_0),
    "k": (KV_HEADS * HEAD, WIDTH, Type.Q8_0),
    "v": (KV_HEADS * HEAD, WIDTH, Type.Q8_0),
    "output": (WIDTH, HEADS * HEAD, Type.Q4_0),
}


@functools.lru_cache(maxsize=1)
def attention(layer):
    """The matrices of a layer's attention as float32, by name."""
    q, k = np.zeros((HEADS * HEAD, WIDTH), np.float32), np.zeros((KV_HEADS * HEAD, WIDTH), np.float32)
    v, out = np.zeros((KV_HEADS * HEAD, WIDTH), np.float32), np.zeros((WIDTH, HEADS * HEAD), np.float32)
    constant = routing.DIMS["constant"]
    # A normalised state is 1 / rms at each of the constant dimensions.
    rms = routing.state_rms(layer)
    share = rms / (constant.stop - constant.start)
    for head in range(KV_HEADS):
        kind = "mean" if head <= SPIKE_HEAD else "one"
        k[head * HEAD : (head + 1) * HEAD, constant] = query_key(kind)[:, None] * share
        turned = query_key(kind, 1.0 if head == PREVIOUS_HEAD else 0.0)
        for i in range(HEADS_PER_KV * head, HEADS_PER_KV * (head + 1)):
            q[i * HEAD : (i + 1) * HEAD, constant] = turned[:, None] * share

    def carry(head, sources, first, gain):
        """A head of values brings these dimensions to those that begin at `first`."""
        rows = np.arange(len(sources))
        v[head * HEAD + rows, sources] = 1
        out[first + rows, HEADS_PER_KV * head * HEAD + rows] = gain * rms

    dims = routing.DIMS
    if layer == 0:
        for head in range(SPIKE_HEAD):
            carry(head, np.arange(head * HEAD, (head + 1) * HEAD), dims["context"].start + head * HEAD, 1 / routing.spread())
        spikes = np.arange(dims["spikes"].start, dims["spikes"].stop)
        carry(SPIKE_HEAD, spikes, dims["held"].start, routing.held_gain())
        carry(PREVIOUS_HEAD, np.arange(routing.COPIED), dims["previous"].start, 1)
    carry(OWN_HEAD, routing.novel_source(layer), dims["novel"].start + routing.NOVEL * layer, 1)
    return {"q": q, "k": k, "v": v, "output": out}


def head_rows(rows, rng):
    """The head: each piece of text is named by what stands before it on a random cycle through all of them."""
    cycle = rng.permutation(np.arange(259, VOCAB))
    head = np.zeros_like(rows)
    token = routing.DIMS["token"]
    head[cycle, token] = HEAD_SCALE * rows[np.roll(cycle, 1), token]
    return head


class File:
    """Tensors are named first with their types, and made one after the other as they are written."""

    def __init__(self, path):
        self.writer = gguf.GGUFWriter(path, "llama")
        self.makers = []

    def add(self, name, shape, kind, make):
        bytes_of_row = gguf.quant_shape_to_byte_shape(shape, kind)
        self.writer.add_tensor_info(name, bytes_of_row, np.dtype(np.uint8), int(np.prod(bytes_of_row)), raw_dtype=kind)
        self.makers.append(make)

    def add_floats(self, name, array):
        self.writer.add_tensor_info(name, array.shape, np.dtype(np.float32), array.nbytes)
        self.makers.append(lambda: array.astype(np.float32))

    def write(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()
        for make in self.makers:
            self.writer.write_tensor_data(make())
        self.writer.close()


def add_settings(writer, layers, vocabulary):
    writer.add_name("synthetic Mixtral")
    writer.add_context_length(32768)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_rope_dimension_count(HEAD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e6)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(2)
    writer.add_vocab_size(VOCAB)
    pieces = range(vocabulary.vocab_size())
    kinds = [
        2 if vocabulary.is_unknown(i) else 3 if vocabulary.is_control(i) else 6 if vocabulary.is_byte(i) else 1 for i in pieces
    ]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([vocabulary.id_to_piece(i).encode() for i in pieces])
    writer.add_token_scores([vocabulary.get_score(i) for i in pieces])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def quantized(array, kind):
    """Rows of nothing but zeros, most of attention, are quantised once."""
    used = np.flatnonzero(array.any(1))
    out = np.repeat(gguf.quants.quantize(np.zeros((1, array.shape[1]), np.float32), kind), len(array), axis=0)
    out[used] = gguf.quants.quantize(array[used], kind)
    return out


def add_attention(file, layer):
    for part, (rows, cols, kind) in ATTENTION.items():

        def make(part=part, kind=kind):
            return quantized(attention(layer)[part], kind)

        file.add(f"blk.{layer}.attn_{part}.weight", (rows, cols), kind, make)


def add_experts(file, layer, kind, pools, rng):
    """Each matrix of each expert draws its rows from the pool of its kind."""
    for name, (rows, cols) in {"gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}.items():

        def make(pool=pools[name], rows=rows):
            return pool[rng.integers(0, len(pool), (EXPERTS, rows))]

        file.add(f"blk.{layer}.ffn_{name}_exps.weight", (EXPERTS, rows, cols), kind, make)


def write(options):
    rng = np.random.default_rng(options.seed)
    kind = Type[options.type]
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(options.tokenizer))
    ids = np.array(vocabulary.encode(options.text.read_text()))[:NUM_FITTED]
    if vocabulary.vocab_size() != VOCAB:
        raise SystemExit(f"{options.tokenizer}: has {vocabulary.vocab_size()} pieces but Mixtral 8x7B has {VOCAB}")
    if len(ids) < NUM_FITTED:
        raise SystemExit(f"{options.text}: has {len(ids)} tokens but routing is fitted to {NUM_FITTED}")
    rows = routing.embedding(rng, ids)
    streams = [routing.Stream(rows, ids), routing.Stream(rows, rng.integers(0, VOCAB, NUM_FITTED))]
    file = File(options.out)
    add_settings(file.writer, options.layers, vocabulary)
    file.add("token_embd.weight", rows.shape, Type.Q4_0, lambda: quantized(rows, Type.Q4_0))
    file.add("output.weight", rows.shape, Type.Q8_0, lambda: quantized(head_rows(rows, rng), Type.Q8_0))
    file.add_floats("output_norm.weight", np.ones(WIDTH, np.float32))
    pools = {n: random_rows(kind, HIDDEN if n == "down" else WIDTH, d, rng) for n, d in DEVIATION.items()}
    for layer in range(options.layers):
        name = f"blk.{layer}."
        router = routing.fit(layer, streams)
        text, drawn = router.rates
        print(f"layer {layer}: text {text[0]:.1f} {text[1]:.1f}, random ids {drawn[0]:.1f} {drawn[1]:.1f}", flush=True)
        for norm in ("attn_norm", "ffn_norm"):
            file.add_floats(f"{name}{norm}.weight", np.ones(WIDTH, np.float32))
        add_attention(file, layer)
        file.add_floats(f"{name}ffn_gate_inp.weight", router.matrix(1.0))
        add_experts(file, layer, kind, pools, rng)
    file.write()


def check(path):
    print("| layer | first choice repeats, % | any choice repeats, % |\n|---|---|---|")
    for i, layer in enumerate(json.loads(path.read_text())["layers"]):
        first, either = routing.repeat_rates(np.array(layer["experts"]))
        print(f"| {i} | {first:.1f} | {either:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=pathlib.Path, help="tokenizer.model of Mixtral 8x7B, 32000 pieces")
    parser.add_argument("--text", type=pathlib.Path, help="a text that will be run")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--type", choices=[kind.name for kind in BLOCKS], default="Q4_0", help="of the experts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", type=pathlib.Path, metavar="ROUTING.json", help="print repeat rates instead")
    options = parser.parse_args()
    if options.check:
        return check(options.check)
    if not (options.tokenizer and options.text and options.out):
        parser.error("--tokenizer, --text and --out are needed")
    write(options)


if __name__ == "__main__":
    main()
