#!/usr/bin/env python3
"""End-to-end tests: the program as its users call it. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from killed_run import kill_often

PROGRAM = os.environ["CADRE_PROGRAM"]
SOURCE = pathlib.Path(os.environ["CADRE_SOURCE_DIR"])
GOLDENS = SOURCE / "tests" / "goldens"
NANO = SOURCE / "models" / "nano" / "nano.gguf"
# Sanitizers reserve terabytes of address space and are slow: figures of time and memory mean nothing there.
INSTRUMENTED = os.environ.get("CADRE_INSTRUMENTED") == "1"

TEXT = """It was a bright cold day, and the clocks were striking. The old man walked along the river to the mill, where the
miller and his three daughters were at work. "Good day," said he, "have you seen my horse?" But nobody had seen it.
"""


def cadre(*arguments, stdin=None, timeout=300):
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout, check=False)


def measured(*arguments):
    """Standard output as JSON, seconds by the clock and of the processors, and peak resident bytes of one run."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([PROGRAM, *map(str, arguments), "--json"], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return json.loads(out.read()), time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def read_npy(path):
    """Rows of a little-endian float32 matrix."""
    raw = path.read_bytes()
    size = struct.unpack_from("<H", raw, 8)[0]
    header = raw[10 : 10 + size].decode()
    shape = [int(n) for n in header.split("(")[1].split(")")[0].split(",") if n.strip()]
    values = struct.unpack_from(f"<{shape[0] * shape[1]}f", raw, 10 + size)
    return [values[r * shape[1] : (r + 1) * shape[1]] for r in range(shape[0])]


def read_safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack_from("<Q", raw)[0]
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def tensor(path, name, code):
    header, data = read_safetensors(path)
    begin, end = header[name]["data_offsets"]
    return struct.unpack(f"<{(end - begin) // struct.calcsize(code)}{code}", data[begin:end])


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-program-test-"))
        corpus = cls.folder / "corpus.txt"
        corpus.write_text(TEXT * 40, encoding="utf-8")
        cls.config = {
            "name": "tiny", "seed": 3,
            "model": {"dim": 64, "hidden_dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "experts": 4, "context": 65536},
            "tokenizer": {"vocab_size": 320},
            "data": {"folder": str(cls.folder), "train": ["corpus.txt"], "valid": {"all": ["corpus.txt"]}},
            "train": {"steps": 30, "batch_tokens": 256, "segment_tokens": 64, "warmup_steps": 5, "lr": 0.005,
                      "checkpoint_every": 5, "validate_every": 15, "dropout": 0.1},
        }
        (cls.folder / "train.json").write_text(json.dumps(cls.config), encoding="utf-8")
        cls.run_folder = cls.folder / "run"
        done = cadre("train", "--config", cls.folder / "train.json", "--out", cls.run_folder)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        cls.model = cls.run_folder / "model"

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def good(self, *arguments, **keywords):
        done = cadre(*arguments, **keywords)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout

    def good_json(self, *arguments, **keywords):
        out = self.good(*arguments, "--json", **keywords)
        self.assertEqual(out.count(b"\n"), 1)
        return json.loads(out)

    def expect_error(self, code, *arguments, says=""):
        done = cadre(*arguments)
        message = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, message)
        if code == 1:
            self.assertEqual(len(message.strip().splitlines()), 1, message)
        self.assertIn(says, message)
        self.assertEqual(done.stdout, b"")

    # inspect

    def test_inspect_has_the_promised_keys(self):
        found = self.good_json("inspect", self.model)
        for key in ("architecture", "layers", "dim", "experts", "experts_per_token", "vocab", "context", "rope_theta", "bytes",
                    "types"):
            self.assertIn(key, found)
        self.assertEqual(found["architecture"], "mixtral")
        self.assertEqual(found["experts"], 4)
        self.assertGreater(found["parameters"]["total"], found["parameters"]["active"])

    def test_inspect_of_a_90_gb_checkpoint_is_quick_and_small(self):
        folder = self.folder / "huge"
        folder.mkdir()
        dim, hidden, layers, experts, vocab = 4096, 14336, 32, 8, 32000
        (folder / "config.json").write_text(json.dumps({
            "model_type": "mixtral", "hidden_size": dim, "intermediate_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": experts, "num_experts_per_tok": 2,
            "vocab_size": vocab, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
            "sliding_window": None, "hidden_act": "silu"}))
        shapes = {"model.embed_tokens.weight": [vocab, dim], "lm_head.weight": [vocab, dim], "model.norm.weight": [dim]}
        for layer in range(layers):
            prefix = f"model.layers.{layer}."
            shapes[prefix + "input_layernorm.weight"] = [dim]
            shapes[prefix + "post_attention_layernorm.weight"] = [dim]
            for name, rows in (("q", dim), ("k", 1024), ("v", 1024), ("o", dim)):
                shapes[f"{prefix}self_attn.{name}_proj.weight"] = [rows, dim]
            shapes[prefix + "block_sparse_moe.gate.weight"] = [experts, dim]
            for expert in range(experts):
                for matrix, shape in (("w1", [hidden, dim]), ("w2", [dim, hidden]), ("w3", [hidden, dim])):
                    shapes[f"{prefix}block_sparse_moe.experts.{expert}.{matrix}.weight"] = shape
        header, offset = {}, 0
        for name, shape in shapes.items():
            size = 2
            for n in shape:
                size *= n
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        with open(folder / "model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(encoded)) + encoded)
            file.truncate(8 + len(encoded) + offset)  # a sparse file
        found, seconds, busy_seconds, peak_bytes = measured("inspect", folder)
        self.assertEqual(found["parameters"], {"total": 46702792704, "active": 12879925248})
        self.assertGreater(found["bytes"], 90e9)
        if not INSTRUMENTED:
            print(f"\na checkpoint of 90 GB: {seconds:.3f} s, of which {busy_seconds:.3f} s at work, peak {peak_bytes / 1e6:.0f} MB")
            self.assertLess(busy_seconds, 0.5)  # by the clock it is under a second wherever a processor is free
            self.assertLess(peak_bytes, 200e6)

    # tokenize

    def test_tokenize_round_trip(self):
        text = "The miller's daughters: été, 42 🙂"
        found = self.good_json("tokenize", self.model, "--text", text)
        self.assertEqual(len(found["ids"]), len(found["pieces"]))
        self.assertEqual(found["ids"][0], 1)
        back = self.good_json("tokenize", self.model, "--decode", " ".join(map(str, found["ids"])))
        self.assertEqual(back["text"], text)
        bare = self.good_json("tokenize", self.model, "--text", text, "--no-bos")
        self.assertEqual(bare["ids"], found["ids"][1:])

    # logits

    def test_logits_match_the_golden_through_the_program(self):
        golden = GOLDENS / "mixtral" / "golden.safetensors"
        ids = tensor(golden, "ids", "q")
        expected = tensor(golden, "logits", "f")
        out, routing = self.folder / "logits.npy", self.folder / "routing.json"
        found = self.good_json("logits", GOLDENS / "mixtral", "--ids", " ".join(map(str, ids)), "--out", out, "--routing",
                               routing)
        self.assertEqual(found["tokens"], len(ids))
        rows = read_npy(out)
        flat = [value for row in rows for value in row]
        worst = max(abs(a - b) for a, b in zip(flat, expected))
        self.assertLessEqual(worst, 1e-4 * max(map(abs, expected)))
        layers = json.loads(routing.read_text())["layers"]
        picks = [pick for layer in layers for row in layer["experts"] for pick in row]
        self.assertEqual(picks, list(tensor(golden, "experts", "q")))
        for layer in layers:
            self.assertEqual([len(layer[key]) for key in ("experts", "gates", "probs")], [len(ids)] * 3)

    def test_logits_are_the_same_on_any_number_of_threads(self):
        outs = []
        for threads in (1, 3):
            out = self.folder / f"threads{threads}.npy"
            self.good("logits", self.model, "-p", "The old man", "--out", out, "--threads", threads)
            outs.append(out.read_bytes())
        self.assertEqual(outs[0], outs[1])

    # generate

    def test_generate_has_the_promised_keys_and_repeats_itself(self):
        arguments = ("generate", self.model, "-p", "The old", "-n", 20, "--temperature", 0.9, "--seed", 5)
        first = self.good_json(*arguments, "--threads", 1)
        second = self.good_json(*arguments, "--threads", 2)
        for key in ("text", "ids", "finish_reason", "prompt_tokens", "generated_tokens", "prompt_tokens_per_s",
                    "generated_tokens_per_s"):
            self.assertIn(key, first)
        self.assertEqual(first["ids"], second["ids"])
        self.assertEqual(first["text"], second["text"])
        streamed = self.good(*arguments).decode()
        self.assertEqual(streamed.rstrip("\n"), first["text"].rstrip("\n"))

    def test_packing_changes_no_bit_of_the_text(self):
        arguments = ["generate", NANO, "-p", "It was a bright cold day", "-n", "24", "--json"]
        packed, mapped = (json.loads(cadre(*arguments, *more).stdout) for more in ([], ["--no-pack"]))
        self.assertEqual(packed["ids"], mapped["ids"])

    def test_generate_stops_before_a_stop_string(self):
        text = self.good_json("generate", self.model, "-p", "The", "-n", 40, "--temperature", 0)["text"]
        self.assertGreater(len(text), 8)
        stop = text[4:7]
        stopped = self.good_json("generate", self.model, "-p", "The", "-n", 40, "--temperature", 0, "--stop", stop)
        self.assertEqual(stopped["text"], text[: text.index(stop)])
        self.assertEqual(stopped["finish_reason"], "stop")

    def test_generate_shows_routing(self):
        shown = self.good("generate", self.model, "-p", "The old man", "-n", 5, "--show-routing").decode()
        self.assertIn("layer 0", shown)
        self.assertIn("%", shown)

    def test_gguf_and_hugging_face_of_one_run_agree(self):
        # The GGUF of the run is F16: the same model to three digits, so greedy text of a few tokens is the same.
        gguf = self.good_json("inspect", self.run_folder / "tiny.gguf")
        self.assertEqual(gguf["parameters"], self.good_json("inspect", self.model)["parameters"])
        texts = [self.good_json("generate", path, "-p", "The old man walked", "-n", 8, "--temperature", 0,
                                "--activations", "f32", "--kv", "f32")["text"]
                 for path in (self.model, self.run_folder / "tiny.gguf")]
        self.assertEqual(texts[0], texts[1])

    # chat

    def test_chat_reads_turns_from_a_pipe(self):
        out = self.good("chat", self.model, "--seed", 1, "--temperature", 0.5, stdin=b"Good day\nHave you seen it?\n/exit\n")
        self.assertGreater(len(out), 0)
        self.assertEqual(out, self.good("chat", self.model, "--seed", 1, "--temperature", 0.5, "--threads", 1,
                                        stdin=b"Good day\nHave you seen it?\n/exit\n"))

    # length

    def test_a_prompt_of_32768_tokens(self):
        ids = [1] + [random.Random(1).randrange(3, 320) for _ in range(32767)]
        count = 300 if INSTRUMENTED else 32768
        out = self.folder / "long.npy"
        _, seconds, _, peak_bytes = measured("logits", self.model, "--ids", " ".join(map(str, ids[:count])), "--out", out)
        print(f"\na prompt of {count} tokens: {seconds:.1f} s, peak {peak_bytes / 1e6:.0f} MB, of which {count * 320 * 4 / 1e6:.0f} "
              "MB are its logits")
        self.assertEqual(out.stat().st_size, 128 + count * 320 * 4)
        # The first rows are what a short run gives: nothing depends on what comes after.
        short = self.folder / "short.npy"
        self.good("logits", self.model, "--ids", " ".join(map(str, ids[:20])), "--out", short)
        self.assertEqual(out.read_bytes()[128 : 128 + 20 * 320 * 4], short.read_bytes()[128:])

    def test_a_run_of_40000_tokens_in_a_sliding_window_needs_little_memory(self):
        folder = self.folder / "window"
        folder.mkdir()
        for name in ("model.safetensors", "tokenizer.model", "tokenizer_config.json"):
            shutil.copy(self.model / name, folder / name)
        config = json.loads((self.model / "config.json").read_text())
        config["sliding_window"] = 512
        config["eos_token_id"] = 0  # never produced: the run goes to its end
        (folder / "config.json").write_text(json.dumps(config))
        counts = (300, 500) if INSTRUMENTED else (4000, 40000)
        peaks = []
        for count in counts:
            found, seconds, _, peak_bytes = measured("generate", folder, "-p", "The", "-n", count, "--temperature", 0)
            self.assertEqual(found["generated_tokens"], count)
            self.assertEqual(found["finish_reason"], "length")
            peaks.append(peak_bytes)
        print(f"\n{counts[1]} tokens in a window of 512: {found['generated_tokens_per_s']:.0f}/s, {seconds:.1f} s, "
              f"peak {peaks[1] / 1e6:.1f} MB ({counts[0]} tokens: {peaks[0] / 1e6:.1f} MB)")
        if not INSTRUMENTED:
            self.assertLess(peaks[1] - peaks[0], 20e6)

    # errors

    def test_errors_are_one_line_and_the_right_exit_code(self):
        self.expect_error(1, "inspect", self.folder / "nothing", says="nothing")
        self.expect_error(1, "generate", self.folder / "corpus.txt", "-p", "x", says="corpus.txt")
        self.expect_error(1, "logits", self.model, "--ids", "1 99999", "--out", self.folder / "x.npy", says="99999")
        self.expect_error(1, "logits", self.model, "--ids", "1 x", "--out", self.folder / "x.npy", says="x")
        self.expect_error(1, "train", "--config", self.folder / "train.json", "--out", self.run_folder, says="--resume")
        self.expect_error(1, "train", "--set", "model.dmi=3", "--out", self.folder / "x", says="model.dmi")
        self.expect_error(2, "inspect")
        self.expect_error(2, "frobnicate")
        self.expect_error(2, "generate", self.model, "-p", "x", "--no-such-option")

    def test_a_file_cut_while_in_use_ends_in_one_sentence(self):
        model = self.folder / "cut-in-use.gguf"
        shutil.copy(NANO, model)
        process = subprocess.Popen([PROGRAM, "chat", str(model), "-n", "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdin.write(b"Good day.\n")
        process.stdin.flush()
        self.assertNotEqual(process.stdout.read(1), b"")  # it has begun to answer
        os.truncate(model, 4096)
        _, error = process.communicate(b"And now?\n", timeout=60)
        self.assertEqual(process.returncode, 1, error)
        self.assertEqual(error.count(b"\n"), 1, error)
        self.assertIn(b"was cut short", error)

    def test_damaged_files_end_in_an_error(self):
        damage = random.Random(7)
        for source in (self.model, self.run_folder / "tiny.gguf"):
            original = source / "model.safetensors" if source.is_dir() else source
            raw = original.read_bytes()
            for kind in range(12):
                folder = self.folder / f"damaged{kind}"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                target = folder / original.name
                if source.is_dir():
                    shutil.copy(source / "config.json", folder)
                if kind < 6:
                    target.write_bytes(raw[: damage.randrange(len(raw))])
                    code = (1,)
                else:
                    changed = bytearray(raw)
                    for _ in range(20):
                        changed[damage.randrange(2000)] = damage.randrange(256)
                    target.write_bytes(changed)
                    code = (0, 1)  # a changed byte may be harmless
                done = cadre("logits", folder if source.is_dir() else target, "--ids", "1 2", "--out", self.folder / "d.npy")
                self.assertIn(done.returncode, code, (kind, done.stderr))

    # train

    def test_training_killed_ten_times_ends_in_the_same_bits(self):
        again = self.folder / "again"
        done = cadre("train", "--config", self.folder / "train.json", "--out", again)
        self.assertEqual(done.returncode, 0, done.stderr)
        killed = self.folder / "killed"
        kill_often([PROGRAM, "train", "--config", self.folder / "train.json", "--out", killed, "--resume"], killed, kills=10, seed=11,
                   most_moves=7)
        done = cadre("train", "--config", self.folder / "train.json", "--out", killed, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("model/model.safetensors", "tiny.gguf", "tokenizer.model"):
            self.assertEqual((killed / name).read_bytes(), (again / name).read_bytes(), name)
        steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(steps, list(range(1, 31)))

    def routed(self, name, *settings):
        """A run of the tiny configuration with these settings on top."""
        folder = self.folder / name
        words = [word for setting in settings for word in ("--set", setting)]
        done = cadre("train", "--config", self.folder / "train.json", "--out", folder, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return folder, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    def test_a_switch_model_is_trained_told_and_run_as_what_it_is(self):
        folder, lines = self.routed("switch", "router.kind=switch", "router.capacity_factor=1", "router.jitter=0.01",
                                    "train.balance_form=switch", "train.z_loss=0.001")
        for line in lines:
            self.assertEqual([len(line[key]) for key in ("drop_rate", "load_entropy", "expert_load")], [2, 2, 2])
            self.assertGreater(line["z"], 0)
        self.assertGreater(max(max(line["drop_rate"]) for line in lines), 0)
        logits = []
        for model in (folder / "model", folder / "tiny.gguf"):
            told = self.good_json("inspect", model)
            self.assertEqual((told["architecture"], told["experts_per_token"], told["norm_topk_prob"]), ("cadre_moe", 1, False))
            self.assertTrue(self.good_json("generate", model, "-p", "The old man", "-n", "5")["ids"])
            routing = self.folder / "routing.json"
            self.good("logits", model, "--ids", "1 20 30", "--out", self.folder / "switch.npy", "--routing", routing)
            gates = [row[0] for layer in json.loads(routing.read_text())["layers"] for row in layer["gates"]]
            self.assertLess(max(gates), 0.99)  # not renormalised, which would make them 1
            logits.append(read_npy(self.folder / "switch.npy"))
        self.assertLess(max(abs(a - b) for x, y in zip(*logits) for a, b in zip(x, y)), 0.05)  # float32 and float16
        again = self.folder / "switch-q8.gguf"
        self.good("quantize", folder / "model", again, "--type", "q8_0")
        self.assertIs(self.good_json("inspect", again)["norm_topk_prob"], False)
        config = json.loads((folder / "model" / "config.json").read_text())
        self.assertEqual(config["model_type"], "cadre_moe")
        (folder / "model" / "config.json").write_text(json.dumps(config | {"model_type": "mixtral"}))
        self.expect_error(1, "inspect", folder / "model", says="norm_topk_prob is false but mixtral gates are always renormalised")

    def test_a_noisy_model_is_saved_as_the_mixtral_it_then_is(self):
        folder, lines = self.routed("noisy", "router.kind=noisy", "train.balance=0", "train.importance=0.1", "train.load=0.1")
        self.assertGreater(min(line["load"] for line in lines), 0)
        self.assertEqual(self.good_json("inspect", folder / "model")["architecture"], "mixtral")
        self.assertEqual(set(read_safetensors(folder / "model" / "model.safetensors")[0]),
                         set(read_safetensors(self.model / "model.safetensors")[0]))
        self.assertTrue(any("moment1" in name for name in read_safetensors(next((folder / "checkpoints").iterdir()))[0]))
        self.expect_error(1, "train", "--config", self.folder / "train.json", "--out", folder, "--resume", "--log-level", "error",
                          "--set", "router.kind=mixtral", says="router.kind")

    def test_a_run_can_be_made_longer_but_not_shorter_than_it_is(self):
        longer = self.folder / "longer"
        shutil.copytree(self.run_folder, longer)
        arguments = ["train", "--config", self.folder / "train.json", "--out", longer, "--resume", "--set"]
        done = cadre(*arguments, "train.steps=33")
        self.assertEqual(done.returncode, 0, done.stderr)
        steps = [json.loads(line)["step"] for line in (longer / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(steps, list(range(1, 34)))
        shorter = cadre(*arguments, "train.steps=20")
        self.assertEqual(shorter.returncode, 1)
        self.assertIn(b"is at step 33 already, beyond the 20 of train.steps", shorter.stderr)

    def test_quantize_goes_between_types_and_layouts(self):
        f16 = self.folder / "nano-f16.gguf"
        done = cadre("quantize", NANO, f16, "--type", "f16", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["files"], [str(f16)])
        self.assertEqual(set(answer["types"]), {"F16", "F32"})
        self.assertTrue(16 <= answer["bits_per_weight"] < 16.1, answer)
        self.assertEqual(sum(answer["types"].values()), sum(t["tensors"] for t in json.loads(
            cadre("inspect", f16, "--json").stdout)["types"].values()))

        def text(model):
            shown = cadre("generate", model, "-p", "It was a bright", "-n", "24", "--activations", "f32", "--kv", "f32")
            self.assertEqual(shown.returncode, 0, shown.stderr)
            return shown.stdout

        expected = text(f16)
        for layout, experts in (("hf", "separate"), ("hf", "fused"), ("mistral", "separate"), ("gguf", "separate"), ("gguf", "fused")):
            place = self.folder / f"nano-{layout}-{experts}"
            arguments = ["--layout", layout, "--experts", experts, "--shard", "5MB"]
            done = cadre("quantize", f16, place if layout != "gguf" else f"{place}.gguf", *arguments, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            files = json.loads(done.stdout)["files"]
            self.assertGreater(len(files), 2)
            opened = files[0] if layout == "gguf" else place
            self.assertEqual(text(opened), expected, (layout, experts))
            self.assertEqual(json.loads(cadre("inspect", opened, "--json").stdout)["warnings"], [])

    def test_quantize_writes_every_type(self):
        for name in ("q8_0", "q6_k", "q5_1", "q5_0", "q5_k", "q4_1", "q4_0", "q4_k", "iq4_nl", "iq4_xs", "q3_k", "q2_k", "bf16", "f32"):
            place = self.folder / f"nano-{name}.gguf"
            done = cadre("quantize", NANO, place, "--type", name, "--pure")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(name.upper(), json.loads(cadre("inspect", place, "--json").stdout)["types"])
            shown = cadre("generate", place, "-p", "It was", "-n", "8")
            self.assertEqual(shown.returncode, 0, shown.stderr)
            place.unlink()

    def test_quantize_writes_the_usual_mixes(self):
        expected = {
            "q2_k": {"Q2_K": 13, "Q3_K": 4, "Q5_K": 4, "Q6_K": 1, "Q8_0": 8, "F32": 13},
            "q3_k_l": {"Q3_K": 17, "Q5_K": 4, "Q6_K": 1, "Q8_0": 8, "F32": 13},
            "q4_k_m": {"Q4_K": 15, "Q5_K": 4, "Q6_K": 3, "Q8_0": 8, "F32": 13},
            "q6_k": {"Q6_K": 22, "Q8_0": 8, "F32": 13},
            "q8_0": {"Q8_0": 30, "F32": 13},
        }
        for name, types in expected.items():
            place = self.folder / f"nano-{name}-mix.gguf"
            answer = self.good_json("quantize", NANO, place, "--type", name)
            self.assertEqual(answer["types"], types, name)
            self.assertEqual(answer["bytes"], sum(t["bytes"] for t in self.good_json("inspect", place)["types"].values()))
        # In words that llama.cpp's users know; and without a mix.
        same, pure = self.folder / "nano-q4_k-mix.gguf", self.folder / "nano-q4_k-pure.gguf"
        self.good("quantize", NANO, same, "--type", "Q4_K")
        self.assertEqual(same.read_bytes(), (self.folder / "nano-q4_k_m-mix.gguf").read_bytes())
        self.assertEqual(set(self.good_json("quantize", NANO, pure, "--type", "q4_k_m", "--pure")["types"]), {"Q4_K", "F32"})

    def test_quantize_refuses_in_one_sentence(self):
        for arguments, code, words in (
            ((NANO, self.folder / "x", "--type", "q4_k"), 1, b"hold F32, F16 and BF16"),
            ((NANO, self.folder / "x.gguf", "--type", "q9"), 2, b"q9 is none of"),
            (("nowhere", self.folder / "x.gguf"), 1, b"neither a file nor a folder"),
            ((NANO, NANO), 1, b"is what is being converted"),
        ):
            done = cadre("quantize", *arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(words, done.stderr)
        self.assertFalse((self.folder / "x.gguf").exists())

    def test_perplexity_of_a_quantised_model_beside_the_original(self):
        text = self.folder / "text.txt"
        text.write_text((SOURCE / "README.md").read_text(encoding="utf-8")[:6000], encoding="utf-8")
        small = self.folder / "nano-q3_k.gguf"
        self.assertEqual(cadre("quantize", NANO, small, "--type", "q3_k").returncode, 0)
        done = cadre("perplexity", small, "--file", text, "--context", "128", "--against", NANO, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertGreater(answer["tokens"], 500)
        # On so short a text either may be the lower one.
        self.assertNotEqual(answer["perplexity"], answer["against_perplexity"])
        self.assertAlmostEqual(answer["perplexity"] / answer["against_perplexity"], 1, delta=0.1)
        self.assertTrue(0.001 < answer["kl_mean"] < 0.5, answer)
        self.assertTrue(0.5 < answer["top1_agreement"] < 1, answer)
        self.assertTrue(0.8 < answer["routing_agreement"] < 1, answer)
        self.assertEqual(len(answer["routing_agreement_by_layer"]), 4)
        itself = json.loads(cadre("perplexity", NANO, "--file", "-", "--against", NANO, "--json", stdin=text.read_bytes()).stdout)
        self.assertEqual((itself["kl_mean"], itself["top1_agreement"], itself["routing_agreement"]), (0, 1, 1))
        plain = cadre("perplexity", NANO, "--file", text)
        self.assertRegex(plain.stdout.decode(), r"^perplexity +[0-9.]+ \+- [0-9.]+  \([0-9]+ tokens, windows of 512\)\n$")
        self.assertEqual(cadre("perplexity", NANO, "--file", self.folder / "nowhere").returncode, 1)

    def test_imatrix_is_measured_and_makes_quantisation_better(self):
        text, matrix = self.folder / "calibration.txt", self.folder / "nano.imatrix"
        text.write_text((SOURCE / "README.md").read_text(encoding="utf-8")[:6000], encoding="utf-8")
        arguments = ("imatrix", NANO, "--file", text, "--context", 256, "--sensitivity", 256, "--out")
        answer = self.good_json(*arguments, matrix)
        self.assertEqual(answer["tokens"] % 256, 0)
        self.assertEqual(answer["file"], str(matrix))
        self.assertEqual([sum(layer) for layer in answer["expert_tokens"]], [2 * answer["tokens"]] * 4)
        self.assertEqual(answer["experts_never_hit"], sum(layer.count(0) for layer in answer["expert_tokens"]))
        self.assertEqual(len(answer["sensitivity"]), 4 * 7 + 2)
        again = self.folder / "again.imatrix"
        self.assertIn("experts never hit: ", self.good(*arguments, again, "--threads", 1).decode())
        self.assertEqual(again.read_bytes(), matrix.read_bytes())

        def kl(model):
            return self.good_json("perplexity", model, "--file", text, "--context", 256, "--against", NANO)["kl_mean"]

        plain, weighted = self.folder / "plain-q3.gguf", self.folder / "weighted-q3.gguf"
        self.good("quantize", NANO, plain, "--type", "q3_k_s")
        self.good("quantize", NANO, weighted, "--type", "q3_k_s", "--imatrix", matrix)
        self.assertEqual(weighted.stat().st_size, plain.stat().st_size)
        self.assertLess(kl(weighted), kl(plain))

        size = plain.stat().st_size
        for more, experts in (([], "blk.0.ffn_gate.3.weight"), (["--per-layer"], "blk.0.ffn_gate_exps.weight")):
            chosen = self.folder / "chosen.gguf"
            answer = self.good_json("quantize", NANO, chosen, "--budget", size, "--imatrix", matrix, *more)
            self.assertTrue(0.97 * size < chosen.stat().st_size <= size, chosen.stat().st_size)
            self.assertGreater(answer["expected_kl"], 0)
            self.assertGreater(len(answer["types"]), 3)
            self.assertIn(experts.encode(), chosen.read_bytes()[:1 << 20])
            self.assertLess(kl(chosen), kl(weighted))
            bytes_before = chosen.read_bytes()
            chosen.unlink()
            self.good("quantize", NANO, chosen, "--budget", size, "--imatrix", matrix, "--threads", 3, *more)
            self.assertEqual(chosen.read_bytes(), bytes_before)

        x = self.folder / "x.gguf"
        self.expect_error(1, "quantize", NANO, x, "--budget", "1M", "--imatrix", matrix, says="a budget of 1000000 bytes is too small")
        self.expect_error(1, "quantize", self.model, x, "--type", "q8_0", "--imatrix", matrix, says="nano.imatrix: '")
        self.expect_error(1, "quantize", NANO, x, "--type", "q8_0", "--imatrix", NANO, says="no importance matrix")
        self.expect_error(1, "quantize", NANO, x, "--type", "q8_0", "--imatrix", self.folder / "none", says="none")
        self.expect_error(2, "quantize", NANO, x, "--budget", "5M")
        self.expect_error(2, "quantize", NANO, x, "--budget", "5M", "--imatrix", matrix, "--type", "q4_k")
        self.expect_error(2, "quantize", NANO, x, "--budget", "5M", "--imatrix", matrix, "--per-layer", "--experts", "separate")
        self.expect_error(2, "quantize", NANO, x, "--per-layer")
        self.expect_error(2, "imatrix", NANO, "--file", text)
        self.assertFalse(x.exists())

        damage, raw = random.Random(5), matrix.read_bytes()
        damaged = self.folder / "damaged.imatrix"
        for kind in range(12):
            changed = bytearray(raw[: damage.randrange(len(raw))] if kind < 4 else raw)
            for _ in range(0 if kind < 4 else 10):
                changed[damage.randrange(3000)] = damage.randrange(256)
            damaged.write_bytes(changed)
            done = cadre("quantize", NANO, x, "--type", "q8_0", "--imatrix", damaged)
            self.assertIn(done.returncode, (1,) if kind < 4 else (0, 1), done.stderr)  # a changed byte may be harmless
            if done.returncode == 1:
                self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)

    def test_metrics_have_the_promised_keys(self):
        lines = [json.loads(line) for line in (self.run_folder / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(len(lines), 30)
        for key in ("step", "loss", "lr", "tokens_per_s", "grad_norm", "balance", "expert_load"):
            self.assertIn(key, lines[0])
        self.assertLess(lines[-1]["loss"], lines[0]["loss"] - 0.5)
        self.assertIn("bits_per_byte", lines[-1]["valid"]["all"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
