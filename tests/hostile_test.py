#!/usr/bin/env python3
"""Hostile files of every kind, given to the program as a user would: each ends in one sentence, in under a second and in less
than 100 MB. The public reports of faults of this class in other loaders are named where one exists. CADRE_PROGRAM names the
program, CADRE_SOURCE_DIR the repository."""

import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["CADRE_PROGRAM"]
SOURCE = pathlib.Path(os.environ["CADRE_SOURCE_DIR"])
GOLDENS = SOURCE / "tests" / "goldens"
# Sanitizers reserve terabytes of address space and are slow: figures of time and memory mean nothing there.
INSTRUMENTED = os.environ.get("CADRE_INSTRUMENTED") == "1"

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACKED = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value_bytes(kind, value):
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(value_bytes(element, v) for v in values)
    return struct.pack("<" + PACKED[kind], value)


class Gguf:
    """A model of one layer and two experts, whole unless changed."""

    def __init__(self):
        self.version = 3
        self.counts = None  # (tensors, entries), when they lie
        pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a"]
        vocab = len(pieces)
        self.entries = {
            "general.architecture": (STRING, "llama"),
            "llama.block_count": (U32, 1),
            "llama.context_length": (U32, 64),
            "llama.embedding_length": (U32, 32),
            "llama.feed_forward_length": (U32, 32),
            "llama.attention.head_count": (U32, 2),
            "llama.attention.head_count_kv": (U32, 1),
            "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
            "llama.rope.freq_base": (F32, 1e6),
            "llama.rope.dimension_count": (U32, 16),
            "llama.vocab_size": (U32, vocab),
            "llama.expert_count": (U32, 2),
            "llama.expert_used_count": (U32, 2),
            "tokenizer.ggml.model": (STRING, "llama"),
            "tokenizer.ggml.tokens": (ARRAY, (STRING, pieces)),
            "tokenizer.ggml.scores": (ARRAY, (F32, [0.0] * vocab)),
            "tokenizer.ggml.token_type": (ARRAY, (I32, [2, 3, 3] + [6] * 256 + [1, 1])),
            "tokenizer.ggml.bos_token_id": (U32, 1),
            "tokenizer.ggml.eos_token_id": (U32, 2),
            "tokenizer.ggml.unknown_token_id": (U32, 0),
        }
        self.extra = b""  # after the entries; counted by the test that adds it
        shapes = {
            "token_embd.weight": [32, vocab],
            "output_norm.weight": [32],
            "output.weight": [32, vocab],
            "blk.0.attn_norm.weight": [32],
            "blk.0.attn_q.weight": [32, 32],
            "blk.0.attn_k.weight": [32, 16],
            "blk.0.attn_v.weight": [32, 16],
            "blk.0.attn_output.weight": [32, 32],
            "blk.0.ffn_norm.weight": [32],
            "blk.0.ffn_gate_inp.weight": [32, 2],
            "blk.0.ffn_gate_exps.weight": [32, 32, 2],
            "blk.0.ffn_up_exps.weight": [32, 32, 2],
            "blk.0.ffn_down_exps.weight": [32, 32, 2],
        }
        self.tensors = []  # [name, dims, type, offset]
        offset = 0
        for name, dims in shapes.items():
            self.tensors.append([name, dims, 0, offset])
            size = 4
            for dim in dims:
                size *= dim
            offset += -(-size // 32) * 32
        self.data = bytes(offset)

    def set(self, key, kind, value):
        self.entries[key] = (kind, value)
        return self

    def without(self, key):
        del self.entries[key]
        return self

    def tensor(self, name, /, **changes):
        row = next(row for row in self.tensors if row[0] == name)
        for place, field in enumerate(("name", "dims", "type", "offset")):
            row[place] = changes.get(field, row[place])
        return self

    def raw_entry(self, key, kind, raw):
        """An entry whose value is given as bytes, whatever they are."""
        self.extra += text(key) + struct.pack("<I", kind) + raw
        self.counts = (len(self.tensors), len(self.entries) + 1)
        return self

    def head(self):
        tensors, entries = self.counts or (len(self.tensors), len(self.entries))
        out = b"GGUF" + struct.pack("<IQQ", self.version, tensors, entries)
        for key, (kind, value) in self.entries.items():
            out += text(key) + struct.pack("<I", kind) + value_bytes(kind, value)
        out += self.extra
        for name, dims, kind, offset in self.tensors:
            out += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", dim) for dim in dims)
            out += struct.pack("<IQ", kind & 0xFFFFFFFF, offset)
        return out + bytes(-len(out) % 32)

    def bytes(self):
        return self.head() + self.data


def tokens(*, pieces=None, scores=None, types=None):
    gguf = Gguf()
    for key, kind, values in (("tokens", STRING, pieces), ("scores", F32, scores), ("token_type", I32, types)):
        if values is not None:
            gguf.set(f"tokenizer.ggml.{key}", ARRAY, (kind, values))
    return gguf


def vocabulary_with(place, piece):
    pieces = list(Gguf().entries["tokenizer.ggml.tokens"][1][1])
    pieces[place] = piece
    return tokens(pieces=pieces)


def gguf_files():
    """name -> bytes of a GGUF file."""
    split = Gguf().set("split.count", U16, 3).set("split.no", U16, 0).set("split.tensors.count", I32, 39)
    names = [row[0] for row in Gguf().tensors]
    many = 200_000
    twice = Gguf()
    twice.tensors.append(list(twice.tensors[0]))
    alias = Gguf().tensor("output.weight", offset=0)
    cases = {
        "empty": b"",
        "magic only": b"GGUF",
        "version 1": struct.pack("<4sIII", b"GGUF", 1, 0, 0),
        "big-endian": struct.pack(">4sIQQ", b"GGUF", 3, 0, 0),
        "tensor count of 2^60, CVE-2024-21836": (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1)) + Gguf().bytes()[24:],
        "entry count of 2^64-1, CVE-2024-23605": (b"GGUF" + struct.pack("<IQQ", 3, 1, (1 << 64) - 1)) + Gguf().bytes()[24:],
        "string of 2^64-1 bytes, CVE-2024-23496": Gguf().raw_entry("k", STRING, b"\xff" * 8),
        "string of 2^63 bytes, CVE-2025-66960": Gguf().raw_entry("k", STRING, struct.pack("<Q", 1 << 63)),
        "key of 2^40 bytes": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 40) + bytes(64),
        "array of 2^61 u64, CVE-2024-21825": Gguf().raw_entry("k", ARRAY, struct.pack("<IQ", U64, 1 << 61)),
        "array of 2^63 u8": Gguf().raw_entry("k", ARRAY, struct.pack("<IQ", U8, 1 << 63)),
        "array of 2^40 empty strings": Gguf().raw_entry("k", ARRAY, struct.pack("<IQ", STRING, 1 << 40)),
        "array of arrays": Gguf().raw_entry("k", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(64)),
        "value type 77": Gguf().raw_entry("k", 77, bytes(8)),
        "bool of 7": Gguf().raw_entry("k", BOOL, b"\x07"),
        "alignment 0": Gguf().set("general.alignment", U32, 0),
        "alignment 2^31, the pad wraps": Gguf().set("general.alignment", U32, 1 << 31),
        "alignment is text": Gguf().set("general.alignment", STRING, "32"),
        "architecture is a number": Gguf().set("general.architecture", U32, 1),
        "architecture is another": Gguf().set("general.architecture", STRING, "gpt2"),
        "no block count": Gguf().without("llama.block_count"),
        "2^32-1 layers": Gguf().set("llama.block_count", U32, 0xFFFFFFFF),
        "no heads, a division by zero": Gguf().set("llama.attention.head_count", U32, 0),
        "no key/value heads, CVE-2024-8063": Gguf().set("llama.attention.head_count_kv", U32, 0),
        "heads per layer, endless": Gguf().set("llama.attention.head_count", ARRAY, (U32, [2] * 1000)),
        "no experts used": Gguf().set("llama.expert_used_count", U32, 0),
        "more experts used than there are": Gguf().set("llama.expert_used_count", U32, 3),
        "2^31 experts": Gguf().set("llama.expert_count", U32, 1 << 31),
        "context of 2^63": Gguf().set("llama.context_length", U64, 1 << 63),
        "epsilon is not a number": Gguf().set("llama.attention.layer_norm_rms_epsilon", F32, float("nan")),
        "theta is infinite": Gguf().set("llama.rope.freq_base", F32, float("inf")),
        "five dimensions, CVE-2024-21802": Gguf().tensor("output.weight", dims=[32, 1, 1, 1, 261]),
        "2^32-1 dimensions, CVE-2024-21802": Gguf().head()[: Gguf().head().index(b"output_norm.weight") + 18] + b"\xff" * 64,
        "a dimension of 0": Gguf().tensor("output.weight", dims=[32, 0]),
        "elements overflow, CVE-2026-33298": Gguf().tensor("output.weight", dims=[32, 1 << 60]),
        "bytes overflow, CVE-2026-33298": Gguf().tensor("output.weight", dims=[32, (1 << 57) + 1]),
        "sum of sizes overflows, CVE-2025-53630": Gguf().tensor("output.weight", dims=[32, 1 << 56], offset=(1 << 64) - 32),
        "sum wraps to what fits, CVE-2026-27940": Gguf().tensor("output.weight", offset=(1 << 64) - 64),
        "data beyond the end, CVE-2026-7482, CVE-2024-12055": Gguf().tensor("output.weight", offset=1 << 30),
        "type 4, taken out": Gguf().tensor("output.weight", type=4),
        "type 200": Gguf().tensor("output.weight", type=200),
        "type -1": Gguf().tensor("output.weight", type=-1),
        "half a block": Gguf().tensor("output.weight", dims=[33, 261], type=8),
        "offset not aligned": Gguf().tensor("output.weight", offset=33),
        "two tensors share bytes": alias,
        "a tensor twice": twice,
        "a tensor's name of 10 MB": Gguf().tensor("output.weight", name="x" * 10_000_000),
        "a tensor is missing": Gguf().tensor("output_norm.weight", name="output_norm.weigh"),
        "another shape": Gguf().tensor("blk.0.attn_q.weight", dims=[64, 16]),
        "the same size turned round": Gguf().tensor("blk.0.attn_k.weight", dims=[16, 32]),
        "norms in a type of no use": Gguf().tensor("output_norm.weight", type=24),
        "data cut short": Gguf().bytes()[:-1],
        "split with its parts missing": split,
        "many equal keys": Gguf().raw_entry("general.architecture", STRING, text("llama")),
        "many tiny tensors": (b"GGUF" + struct.pack("<IQQ", 3, many, 0))
        + b"".join(text(f"t{i}") + struct.pack("<IQIQ", 1, 1, 0, 0) for i in range(many)),
        "names are not UTF-8": Gguf().tensor(names[0], name=b"\xff\xfe\x1b[2J"),
        "noise": Gguf().bytes()[:24] + random.Random(1).randbytes(5_000_000),
        # The tokenizer in it.
        "u8 where scores are floats": Gguf().set("tokenizer.ggml.scores", ARRAY, (U8, [0] * 261)),
        "fewer scores than tokens": tokens(scores=[0.0] * 7),
        "more types than tokens": tokens(types=[1] * 300),
        "token types of 2^31-1": tokens(types=[2, 3, 3] + [0x7FFFFFFF] * 258),
        "tokens are numbers": Gguf().set("tokenizer.ggml.tokens", ARRAY, (U32, [1] * 261)),
        "a token of 100 kB, CVE-2025-49847": vocabulary_with(260, "y" * 100_000),
        "byte piece <0x-1>": vocabulary_with(3, "<0x-1>"),
        "byte piece <0x1FF>": vocabulary_with(3, "<0x1FF>"),
        "byte pieces twice": vocabulary_with(4, "<0x00>"),
        "token is not UTF-8": vocabulary_with(260, b"\xff\xff"),
        "BOS of 2^32-1": Gguf().set("tokenizer.ggml.bos_token_id", U32, 0xFFFFFFFF),
        "unknown id beyond the vocabulary": Gguf().set("tokenizer.ggml.unknown_token_id", U32, 99999),
        "another tokenizer": Gguf().set("tokenizer.ggml.model", STRING, "gpt2"),
    }
    return {name: case if isinstance(case, bytes) else case.bytes() for name, case in cases.items()}


def with_header(header, size=0):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(size)


def safetensors_files(golden):
    size = struct.unpack_from("<Q", golden)[0]
    header, data = json.loads(golden[8 : 8 + size]), golden[8 + size :]

    def changed(name="lm_head.weight", **members):
        copy = json.loads(json.dumps(header))
        copy[name].update(members)
        return with_header(copy) + data

    offsets = header["lm_head.weight"]["data_offsets"]
    rows, columns = header["lm_head.weight"]["shape"]
    return {
        "empty": b"",
        "seven bytes": bytes(7),
        "header of 2^63 bytes": struct.pack("<Q", 1 << 63) + b"{}",
        "header of 100 MB that is not there": struct.pack("<Q", 100_000_000) + b"{",
        "header of 100 MB and one": struct.pack("<Q", 100_000_001) + b"{",
        "a million brackets": with_header(b'{"t":' + b"[" * 1_000_000),
        "tensor twice": with_header(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        "unchecked shape product": changed(shape=[1 << 32, 1 << 32]),
        "product wraps to the right size": changed(shape=[(1 << 62) + rows, columns]),
        "offsets reversed": changed(data_offsets=offsets[::-1]),
        "negative offset": changed(data_offsets=[-1, offsets[1]]),
        "offsets are fractions": changed(data_offsets=[float(offsets[0]), float(offsets[1]) + 0.5]),
        "offset of 2^64": changed(data_offsets=[0, 1 << 64]),
        "offsets of another tensor": changed(data_offsets=header["model.norm.weight"]["data_offsets"]),
        "shape is text": changed(shape="all"),
        "a million dimensions": changed(shape=[1] * 1_000_000),
        "a type of no use": changed(dtype="C64", shape=[rows, columns // 2]),
        "bytes after the data": golden + b"PK\x03\x04",
        "data cut short": golden[:-5],
        "a pickle": b"\x80\x04\x95" + bytes(2000),
        "a zip": b"PK\x03\x04" + bytes(2000),
        "noise": golden[:8] + random.Random(2).randbytes(len(golden) - 8),
    }


def config_files(config):
    def changed(**members):
        return json.dumps({**json.loads(config), **members}).encode()

    return {
        "empty": b"",
        "not an object": b"[]",
        "cut short": config.encode()[:-20],
        "a million brackets": b"[" * 1_000_000,
        "a zero byte": config.replace(":", "\0:", 1).encode(),
        "layers of 10^9": changed(num_hidden_layers=10**9),
        "layers of 1e400": config.replace('"num_hidden_layers": ', '"num_hidden_layers": 1e400, "x": ').encode(),
        "no heads": changed(num_attention_heads=0),
        "negative vocabulary": changed(vocab_size=-1),
        "experts of 2^63": changed(num_local_experts=1 << 63),
        "hidden size is text": changed(hidden_size="64"),
        "another model": changed(model_type="gpt2"),
        "not UTF-8": b'{"model_type": "\xff"}',
    }


def tokenizer_models():
    def field(number, kind, payload):
        return bytes([number << 3 | kind]) + payload

    return {
        "empty": b"",
        "noise": random.Random(3).randbytes(100_000),
        "endless varint": b"\x0a" + b"\xff" * 1000,
        "length of 2^63": b"\x0a" + b"\xff" * 8 + b"\x7f",
        "no pieces": field(2, 2, b"\x02\x18\x02"),
        "groups within groups": b"\x0b" * 100_000,
        "a million empty pieces": b"\x0a\x00" * 1_000_000,
    }


def tokenizer_jsons():
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)}, "a": 259}
    return {
        "empty": b"",
        "a million brackets": b'{"a":' * 1_000_000,
        "no model": b"{}",
        "id of 2^31": json.dumps({"model": {"type": "BPE", "vocab": {**vocabulary, "b": 1 << 31}, "merges": []}}).encode(),
        "id twice": json.dumps({"model": {"type": "BPE", "vocab": {**vocabulary, "b": 259}, "merges": []}}).encode(),
        "merges of what is not there": json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": ["x y"]}}).encode(),
        "another model": json.dumps({"model": {"type": "WordPiece", "vocab": vocabulary}}).encode(),
    }


class HostileTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="cadre-hostile-test-")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.golden = (GOLDENS / "mixtral" / "model.safetensors").read_bytes()
        self.config = (GOLDENS / "mixtral" / "config.json").read_text()

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run_it(self, *arguments):
        with tempfile.TemporaryFile() as error:
            process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=error)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = usage.ru_utime + usage.ru_stime  # at work: a busy machine may delay any process
            error.seek(0)
            return process.returncode, error.read().decode(), seconds, usage.ru_maxrss * 1024

    def refused(self, what, *arguments):
        code, error, seconds, memory = self.run_it(*arguments)
        self.assertEqual(code, 1, (what, error[:500]))
        self.assertEqual(error.count("\n"), 1, (what, error[:500]))
        self.assertTrue(error.startswith("cadre: error: "), (what, error[:500]))
        self.assertLess(len(error), 1000, what)
        self.assertTrue(error.rstrip("\n").isprintable(), (what, error[:500]))
        if not INSTRUMENTED:
            self.assertLess(seconds, 1, what)
            self.assertLess(memory, 100_000_000, what)

    def test_gguf(self):
        # A file merged from parts keeps the keys of a split, with a count of zero.
        merged = Gguf().set("split.count", U16, 0).set("split.no", U16, 0).set("split.tensors.count", I32, 13)
        for good in (Gguf(), merged):
            whole = self.write("whole.gguf", good.bytes())
            code, error, *_ = self.run_it("logits", whole, "--prompt", "a", "--out", self.folder / "l.npy")
            self.assertEqual((code, error), (0, ""))
        cases = gguf_files()
        self.assertGreaterEqual(len(cases), 50)
        for what, content in cases.items():
            with self.subTest(what):
                path = self.write("model.gguf", content)
                self.refused(what, "logits", path, "--prompt", "a", "--out", self.folder / "l.npy")

    def test_a_chat_template_is_never_run(self):
        # Endless in any engine that would run it.
        endless = "{% for a in range(999999999) %}{% for b in range(999999999) %}[INST]{% endfor %}{% endfor %}"
        model = self.write("endless.gguf", Gguf().set("tokenizer.chat_template", STRING, endless).bytes())
        done = subprocess.run([PROGRAM, "chat", str(model), "-n", "2"], input=b"a\n", capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"is used instead", done.stderr)

    def test_safetensors(self):
        for what, content in safetensors_files(self.golden).items():
            with self.subTest(what):
                self.write("model/config.json", self.config.encode())
                self.write("model/model.safetensors", content)
                self.refused(what, "logits", self.folder / "model", "--ids", "1 2", "--out", self.folder / "l.npy")

    def test_config_and_params(self):
        self.write("model/model.safetensors", self.golden)
        for what, content in config_files(self.config).items():
            with self.subTest(what):
                self.write("model/config.json", content)
                self.refused(what, "logits", self.folder / "model", "--ids", "1 2", "--out", self.folder / "l.npy")
        params = {"dim": 64, "n_layers": 2, "head_dim": 16, "hidden_dim": 96, "n_heads": 4, "n_kv_heads": 2, "norm_eps": 1e-5, "vocab_size": 96}
        self.write("native/consolidated.safetensors", self.golden)
        for what, content in {
            "empty": b"",
            "a million brackets": b"[" * 1_000_000,
            "negative": json.dumps({**params, "dim": -64}).encode(),
            "no heads": json.dumps({**params, "n_heads": 0}).encode(),
            "experts are a list": json.dumps({**params, "moe": [8, 2]}).encode(),
            "layers of 10^9": json.dumps({**params, "n_layers": 10**9}).encode(),
        }.items():
            with self.subTest(what):
                self.write("native/params.json", content)
                self.refused(what, "logits", self.folder / "native", "--ids", "1 2", "--out", self.folder / "l.npy")

    def test_indexes(self):
        folder = self.folder / "sharded"
        self.write("sharded/config.json", self.config.encode())
        self.write("sharded/model-00001-of-00001.safetensors", self.golden)
        secret = self.write("secret.safetensors", self.golden)
        for what, content in {
            "empty": b"",
            "a million brackets": b'{"weight_map":' + b"[" * 1_000_000,
            "a shard above the folder": json.dumps({"weight_map": {"a": "../secret.safetensors"}}).encode(),
            "a shard anywhere": json.dumps({"weight_map": {"a": str(secret)}}).encode(),
            "a shard that is not there": json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}).encode(),
            "a shard that is a number": json.dumps({"weight_map": {"a": 1}}).encode(),
            "a tensor that is not there": json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}).encode(),
        }.items():
            with self.subTest(what):
                self.write("sharded/model.safetensors.index.json", content)
                self.refused(what, "logits", folder, "--ids", "1 2", "--out", self.folder / "l.npy")

    def test_tokenizers(self):
        for name, cases in (("tokenizer.model", tokenizer_models()), ("tokenizer.json", tokenizer_jsons())):
            for what, content in cases.items():
                with self.subTest(f"{name}: {what}"):
                    path = self.write(name, content)
                    self.refused(what, "tokenize", path, "--text", "a")

    def test_pickles_are_refused_with_a_way_out(self):
        for name in ("consolidated.00.pth", "pytorch_model.bin", "model.pt"):
            folder = self.folder / name.replace(".", "-")
            self.write(f"{folder.name}/{name}", b"\x80\x04\x95" + bytes(2000))
            self.write(f"{folder.name}/config.json", self.config.encode())
            for path in (folder, folder / name):
                self.refused(name, "inspect", path)
                self.assertIn("safetensors", self.run_it("inspect", path)[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
