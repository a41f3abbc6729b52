"""Writes a random Mixtral of a few hundred thousand weights with a v3 instruct vocabulary (control pieces for tools and for filling in
the middle), as a Hugging Face folder: what tests of tools and of chats need, made from nothing but Python."""

import array
import json
import pathlib
import random
import struct

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, EXPERTS = 64, 96, 2, 4, 2, 4
CONTROL = ["[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
           "[IMG]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"]
SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL_TYPE, BYTE = 1, 2, 3, 6


def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def nested(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def pieces():
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["th", "he", "in", "an", "er", "on", "re", "the", "and", "ing"]
    yield "<unk>", 0.0, UNKNOWN
    yield "<s>", 0.0, CONTROL_TYPE
    yield "</s>", 0.0, CONTROL_TYPE
    for name in CONTROL:
        yield name, 0.0, CONTROL_TYPE
    for byte in range(256):
        yield f"<0x{byte:02X}>", 0.0, BYTE
    score = 0.0
    for text in [*words, *(SPACE + letter for letter in letters), SPACE, *letters, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:{}[]\"'-_?!"]:
        score -= 1.0
        yield text, score, NORMAL


def tokenizer_model():
    data = b""
    count = 0
    for text, score, kind in pieces():
        piece = nested(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind)
        data += nested(1, piece)
        count += 1
    trainer = number(3, 2) + number(4, count) + number(35, 1) + number(40, 0) + number(41, 1) + number(42, 2) + number(43, -1)
    normalizer = nested(1, b"identity") + number(3, 1) + number(4, 0) + number(5, 1)
    return data + nested(2, trainer) + nested(3, normalizer), count


def tensors(vocabulary):
    head = DIM // HEADS
    yield "model.embed_tokens.weight", (vocabulary, DIM)
    for layer in range(LAYERS):
        base = f"model.layers.{layer}."
        yield base + "input_layernorm.weight", (DIM,)
        yield base + "post_attention_layernorm.weight", (DIM,)
        yield base + "self_attn.q_proj.weight", (DIM, DIM)
        yield base + "self_attn.k_proj.weight", (KV_HEADS * head, DIM)
        yield base + "self_attn.v_proj.weight", (KV_HEADS * head, DIM)
        yield base + "self_attn.o_proj.weight", (DIM, DIM)
        yield base + "block_sparse_moe.gate.weight", (EXPERTS, DIM)
        for expert in range(EXPERTS):
            yield f"{base}block_sparse_moe.experts.{expert}.w1.weight", (HIDDEN, DIM)
            yield f"{base}block_sparse_moe.experts.{expert}.w2.weight", (DIM, HIDDEN)
            yield f"{base}block_sparse_moe.experts.{expert}.w3.weight", (HIDDEN, DIM)
    yield "model.norm.weight", (DIM,)
    yield "lm_head.weight", (vocabulary, DIM)


def write(folder, context=4096):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, vocabulary = tokenizer_model()
    (folder / "tokenizer.model").write_bytes(tokenizer)
    config = {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": DIM, "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "num_local_experts": EXPERTS,
        "num_experts_per_tok": 2, "vocab_size": vocabulary, "max_position_embeddings": context, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32", "tie_word_embeddings": False,
        "sliding_window": None, "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    draws = random.Random(7)
    header, chunks, offset = {}, [], 0
    for name, shape in tensors(vocabulary):
        count = 1
        for size in shape:
            count *= size
        values = [1.0] * count if len(shape) == 1 else [draws.gauss(0, 0.25) for _ in range(count)]
        data = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(chunks))
    return folder


if __name__ == "__main__":
    import sys

    write(sys.argv[1])
