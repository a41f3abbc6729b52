#!/usr/bin/env python3
"""End-to-end tests of sft and dpo: the program as its users call it. CADRE_PROGRAM names the program."""

import json
import math
import os
import pathlib
import random
import resource
import shutil
import struct
import subprocess
import tempfile
import unittest

from killed_run import kill_often

PROGRAM = os.environ["CADRE_PROGRAM"]

TEXT = """It was a bright cold day, and the clocks were striking. The old man walked along the river to the mill, where the
miller and his three daughters were at work. "Good day," said he, "have you seen my horse?" But nobody had seen it.
"""
ANSWERS = {"horse": "It is at the mill.", "man": "He walked along the river.", "day": "It was bright and cold.",
           "clock": "It struck.", "miller": "He was at work."}


def cadre(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=300, check=False, **options)


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def metrics_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def bits_of(run, name):
    return [(run / file).read_bytes() for file in ("model/model.safetensors", f"{name}.gguf", "best/model.safetensors")]


class TuneTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-tune-test-"))
        (cls.folder / "corpus.txt").write_text(TEXT * 40, encoding="utf-8")
        base = {
            "name": "tiny", "seed": 3,
            "model": {"dim": 32, "hidden_dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "experts": 4, "context": 256},
            "tokenizer": {"vocab_size": 320}, "data": {"folder": str(cls.folder), "train": ["corpus.txt"]},
            "train": {"steps": 20, "batch_tokens": 256, "segment_tokens": 64, "warmup_steps": 5, "lr": 0.005},
            "gguf_type": "q8_0",
        }
        (cls.folder / "train.json").write_text(json.dumps(base), encoding="utf-8")
        done = cadre("train", "--config", cls.folder / "train.json", "--out", cls.folder / "base")
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        draws = random.Random(1)
        chats = []
        for i in range(80):
            word = draws.choice(sorted(ANSWERS))
            question = f"{draws.choice(['What of', 'Where is', 'Tell of'])} the {word}, number {i}?"
            chats.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": ANSWERS[word]}]})
        write_lines(cls.folder / "chats.jsonl", chats)
        write_lines(cls.folder / "pairs.jsonl", [
            {"prompt": chat["messages"][0]["content"], "chosen": chat["messages"][1]["content"], "rejected": "No."} for chat in chats])
        cls.sft = {
            "name": "told", "seed": 5, "model": str(cls.folder / "base" / "tiny.gguf"),
            "data": {"folder": str(cls.folder), "train": ["chats.jsonl"], "held_back": 0.2},
            "train": {"steps": 24, "batch_tokens": 512, "segment_tokens": 128, "micro_tokens": 200, "lr": 0.005, "warmup_steps": 3,
                      "checkpoint_every": 4, "validate_every": 8, "dropout": 0.1},
        }
        cls.dpo = {
            "name": "preferred", "seed": 6, "model": str(cls.folder / "base" / "model"),
            "data": {"folder": str(cls.folder), "train": ["pairs.jsonl"], "held_back": 0.2},
            "train": {"steps": 12, "batch_pairs": 8, "micro_tokens": 300, "lr": 0.002, "warmup_steps": 2, "checkpoint_every": 3,
                      "validate_every": 6, "balance": 0},
        }
        for name, config in (("sft", cls.sft), ("dpo", cls.dpo)):
            (cls.folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
            done = cadre(name, "--config", cls.folder / f"{name}.json", "--out", cls.folder / name)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode())

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_command(self, command, out, *more):
        return [command, "--config", self.folder / f"{command}.json", "--out", out, *more]

    def expect_error(self, *arguments, says):
        done = cadre(*arguments)
        message = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 1, message)
        errors = [line for line in message.splitlines() if line.startswith("cadre: error:")]
        self.assertEqual(len(errors), 1, message)
        self.assertIn(says, errors[0])

    def kill_often(self, command, name, kills):
        """Kills the command so often, at moments told by what it has written, lets it end, and compares with the run of setUpClass."""
        killed = self.folder / f"{command}-killed"
        kill_often([PROGRAM, *self.run_command(command, killed, "--resume")], killed, kills, seed=7, most_moves=5)
        last = cadre(*self.run_command(command, killed, "--resume"))
        self.assertEqual(last.returncode, 0, last.stderr)
        self.assertEqual(bits_of(killed, name), bits_of(self.folder / command, name))
        lines = [[{k: v for k, v in line.items() if k != "tokens_per_s"} for line in metrics_of(run)]
                 for run in (killed, self.folder / command)]
        self.assertEqual(*lines)
        return killed

    # sft

    def test_sft_lowers_the_loss_of_what_it_has_not_seen(self):
        lines = metrics_of(self.folder / "sft")
        self.assertEqual([line["step"] for line in lines], list(range(25)))
        before, after = lines[0]["valid"], lines[-1]["valid"]
        self.assertLess(after["mean_loss"], 0.7 * before["mean_loss"])
        self.assertEqual(before["router_drift"]["changed"], 0)
        self.assertGreater(after["router_drift"]["changed"], 0)
        report = json.loads((self.folder / "sft" / "router-drift.json").read_text())
        self.assertEqual([layer["changed"] for layer in report["layers"]], after["router_drift"]["layers"])
        for key in ("step", "loss", "lr", "tokens_per_s", "grad_norm", "balance", "expert_load", "epoch", "trained_tokens"):
            self.assertIn(key, lines[1])

    def test_sft_leaves_models_that_chat(self):
        config = json.loads((self.folder / "sft" / "model" / "tokenizer_config.json").read_text())
        self.assertIn("[INST]", config["chat_template"])
        for model in ("model", "told.gguf", "best"):
            done = cadre("chat", self.folder / "sft" / model, input=b"Where is the horse, number 3?\n")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn(b"warning", done.stderr)

    def test_sft_killed_at_any_moment_ends_in_the_same_bits(self):
        self.kill_often("sft", "told", 6)

    def test_sft_with_a_frozen_router_moves_no_router(self):
        out = self.folder / "frozen"
        done = cadre(*self.run_command("sft", out, "--set", "train.freeze=[\"router\"]", "--set", "train.steps=2"))
        self.assertEqual(done.returncode, 0, done.stderr)

        def routers(path):
            raw = path.read_bytes()
            size = int.from_bytes(raw[:8], "little")
            header = json.loads(raw[8 : 8 + size])
            spans = {name: entry["data_offsets"] for name, entry in header.items() if name.endswith("gate.weight")}
            return {name: raw[8 + size + begin : 8 + size + end] for name, (begin, end) in spans.items()}

        frozen, moved = routers(out / "model" / "model.safetensors"), routers(self.folder / "sft" / "model" / "model.safetensors")
        done = cadre("quantize", self.folder / "base" / "tiny.gguf", self.folder / "base-hf", "--layout", "hf", "--type", "f32")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(frozen, routers(self.folder / "base-hf" / "model.safetensors"))
        self.assertNotEqual(frozen, moved)

    def test_sft_can_hold_the_routing_to_what_it_was(self):
        drift = {"alone": metrics_of(self.folder / "sft")[-1]["valid"]["router_drift"]["changed"]}
        loss = {"before": metrics_of(self.folder / "sft")[0]["valid"]["mean_loss"]}
        for name, setting in (("freeze", 'train.freeze=["router"]'), ("anchor", "router.anchor=10"), ("replay", "router.replay=true")):
            out = self.folder / f"held-{name}"
            done = cadre(*self.run_command("sft", out, "--set", setting))
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = metrics_of(out)
            self.assertEqual("anchor" in lines[1], name == "anchor")
            drift[name] = lines[-1]["valid"]["router_drift"]["changed"]
            loss[name] = lines[-1]["valid"]["mean_loss"]
            self.assertLess(loss[name], 0.8 * loss["before"], loss)
        self.assertLess(drift["anchor"], drift["alone"], drift)

    def test_dpo_can_hold_the_routing_too(self):
        lines = {}
        for name, setting in (("alone", "router.anchor=0"), ("anchor", "router.anchor=10"), ("replay", "router.replay=true")):
            out = self.folder / f"dpo-{name}"
            done = cadre(*self.run_command("dpo", out, "--set", setting))
            self.assertEqual(done.returncode, 0, done.stderr)
            lines[name] = metrics_of(out)
            self.assertAlmostEqual(lines[name][1]["dpo_loss"], math.log(2), places=6)
        self.assertAlmostEqual(lines["anchor"][1]["anchor"], 0, places=6)
        self.assertLess(lines["anchor"][-1]["valid"]["router_drift"]["changed"],
                        lines["alone"][-1]["valid"]["router_drift"]["changed"])

    def test_a_tuning_leaves_a_report(self):
        for command, words in (("sft", ("Fine-tuning", "validation, mean", "Drift by layer")),
                               ("dpo", ("Preference tuning", "Margin", "Accuracy", "95 % interval, low", "Pairs told apart"))):
            page = (self.folder / command / "report.html").read_text()
            for word in words:
                self.assertIn(word, page)
            again = self.folder / f"{command}.html"
            done = cadre("report", self.folder / command, "--out", again)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(again.read_text(), page)

    def test_sft_ends_when_validations_get_no_better(self):
        out = self.folder / "patient"
        arguments = self.run_command("sft", out, "--set", "train.patience=2", "--set", "train.lr=1e-12", "--set",
                                     "train.validate_every=1", "--set", "train.steps=24", "--set", "train.keep=best")
        done = cadre(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        steps = len(metrics_of(out)) - 1
        self.assertLess(steps, 24)
        self.assertEqual((out / "model" / "model.safetensors").read_bytes(), (out / "best" / "model.safetensors").read_bytes())
        again = cadre(*arguments, "--resume")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(len(metrics_of(out)) - 1, steps)

    def test_an_unreadable_line_is_named_or_counted(self):
        lines = (self.folder / "chats.jsonl").read_text().splitlines()
        (self.folder / "bad.jsonl").write_text("\n".join([*lines[:7], '{"messages": [{"role": "user"', *lines[7:]]) + "\n")
        arguments = self.run_command("sft", self.folder / "bad", "--set", 'data.train=["bad.jsonl"]', "--set", "train.steps=1")
        self.expect_error(*arguments, says="bad.jsonl:8: not valid JSON")
        self.assertFalse((self.folder / "bad" / "metrics.jsonl").exists())
        done = cadre(*arguments, "--set", "data.skip_bad_lines=true")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"1 bad lines", done.stderr)

    def test_wrong_configurations_are_one_error(self):
        out = self.folder / "wrong"
        self.expect_error(*self.run_command("sft", out, "--set", "train.stepz=1"), says="unknown key 'train.stepz'")
        self.expect_error(*self.run_command("sft", out, "--set", "model=/nowhere"), says="/nowhere")
        self.expect_error(*self.run_command("sft", self.folder / "sft"), says="--resume")
        self.expect_error(*self.run_command("sft", self.folder / "sft", "--resume", "--set", "seed=9"), says="another seed")
        self.expect_error(*self.run_command("dpo", out, "--set", "dpo.loss=best"), says="dpo.loss")

    def test_a_full_disk_is_one_error_and_loses_nothing(self):
        out = self.folder / "full"

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

        # Metrics and the tokenizer fit; then, from step 4 on, a checkpoint does not.
        done = cadre(*self.run_command("sft", out), preexec_fn=small_files, restore_signals=False)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, 1, message)
        self.assertEqual(len([line for line in message.splitlines() if line.startswith("cadre: error:")]), 1, message)
        self.assertIn("File too large", message)
        stopped = cadre(*self.run_command("sft", out, "--resume"))
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        self.assertEqual(bits_of(out, "told"), bits_of(self.folder / "sft", "told"))

    def test_a_disk_that_fills_later_leaves_the_last_checkpoint(self):
        out = self.folder / "fuller"
        begun = cadre(*self.run_command("sft", out, "--set", "train.steps=8"))
        self.assertEqual(begun.returncode, 0, begun.stderr)
        kept = sorted(file.name for file in (out / "checkpoints").iterdir())

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))

        done = cadre(*self.run_command("sft", out, "--resume"), preexec_fn=small_files, restore_signals=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(sorted(file.name for file in (out / "checkpoints").iterdir()), kept)

    # dpo

    def test_dpo_begins_at_log_2_and_learns_the_preference(self):
        lines = metrics_of(self.folder / "dpo")
        self.assertEqual([line["step"] for line in lines], list(range(13)))
        self.assertAlmostEqual(lines[1]["loss"], math.log(2), places=12)
        self.assertEqual(lines[1]["rewards/margins"], 0)
        self.assertEqual(lines[1]["rewards/accuracies"], 0)
        last = lines[-1]["valid"]
        self.assertGreater(last["rewards/accuracies"], 0.9)
        self.assertGreater(last["accuracy_95"][0], 0.5)
        self.assertLess(last["loss"], lines[0]["valid"]["loss"])
        self.assertIn("changed", last["router_drift"])

    def test_dpo_killed_at_any_moment_ends_in_the_same_bits(self):
        killed = self.kill_often("dpo", "preferred", 8)
        self.assertEqual((killed / "reference.jsonl").read_bytes(), (self.folder / "dpo" / "reference.jsonl").read_bytes())

    def test_dpo_uses_a_reference_again_only_where_it_fits(self):
        cache = self.folder / "dpo" / "reference.jsonl"
        before = cache.read_bytes()
        out = self.folder / "again"
        done = cadre(*self.run_command("dpo", out, "--set", f"dpo.reference_cache={cache}", "--set", "dpo.loss=ipo", "--set",
                                       "train.steps=1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"log-probabilities of the reference, read", done.stderr)
        self.assertEqual(cache.read_bytes(), before)
        other = self.folder / "other.jsonl"
        other.write_bytes(before)
        done = cadre(*self.run_command("dpo", self.folder / "again2", "--set", f"dpo.reference_cache={other}", "--set",
                                       "dpo.max_tokens=40", "--set", "dpo.max_prompt_tokens=30", "--set", "train.steps=1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"is of another truncation; the reference is computed anew", done.stderr)
        self.assertNotEqual(other.read_bytes(), before)

    def test_dpo_does_not_go_on_with_other_data(self):
        out = self.folder / "moved"
        shutil.copytree(self.folder / "dpo", out)
        lines = (self.folder / "pairs.jsonl").read_text().splitlines()
        (self.folder / "moved-data").mkdir()
        (self.folder / "moved-data" / "pairs.jsonl").write_text("\n".join(lines[1:]) + "\n")
        self.expect_error(*self.run_command("dpo", out, "--resume", "--set", f"data.folder={self.folder / 'moved-data'}", "--set",
                                            "train.steps=13"), says="is of another data than this run")

    def test_dpo_takes_transcripts(self):
        write_lines(self.folder / "hh.jsonl", [
            {"chosen": f"\n\nHuman: say {i}\n\nAssistant: good {i}", "rejected": f"\n\nHuman: say {i}\n\nAssistant: bad"}
            for i in range(9)])
        done = cadre(*self.run_command("dpo", self.folder / "hh", "--set", 'data.train=["hh.jsonl"]', "--set", "data.held_back=0",
                                       "--set", "train.steps=2"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"no pairs are held back", done.stderr)
        self.assertIn(b"known by heart", done.stderr)

    # adapters

    LORA = ("--set", "lora.rank=4", "--set", "train.lr=0.02", "--set", "train.dropout=0")

    def logits(self, model, name, *more):
        done = cadre("logits", model, "--ids", "1 20 30 40 50 60 70", "--out", self.folder / name, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        raw = (self.folder / name).read_bytes()
        begin = 10 + int.from_bytes(raw[8:10], "little")
        return struct.unpack(f"<{(len(raw) - begin) // 4}f", raw[begin:])

    def expect_near(self, left, right, most):
        self.assertEqual(len(left), len(right))
        self.assertLess(max(abs(a - b) for a, b in zip(left, right)), most)

    def test_adapters_learn_beside_a_quantised_model_and_run_or_merge(self):
        base, out = self.folder / "base" / "tiny.gguf", self.folder / "lora"
        before = base.read_bytes()
        done = cadre(*self.run_command("sft", out, *self.LORA))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"/adapter is written", done.stdout)
        self.assertEqual(base.read_bytes(), before)
        self.assertFalse((out / "model").exists())
        lines = metrics_of(out)
        self.assertLess(lines[-1]["valid"]["mean_loss"], 0.95 * lines[0]["valid"]["mean_loss"])
        self.assertIn("changed", lines[-1]["valid"]["router_drift"])
        adapter = out / "adapter"
        self.assertIn("[INST]", json.loads((adapter / "tokenizer_config.json").read_text())["chat_template"])
        self.assertLess((adapter / "adapter_model.safetensors").stat().st_size, len(before))
        done = cadre("quantize", base, self.folder / "merged", "--type", "f32", "--lora", adapter)
        self.assertEqual(done.returncode, 0, done.stderr)
        beside = self.logits(base, "beside.npy", "--lora", adapter)
        self.expect_near(beside, self.logits(self.folder / "merged", "merged.npy"), 1e-3)
        plain = self.logits(base, "plain.npy")
        self.assertGreater(max(abs(a - b) for a, b in zip(beside, plain)), 0.1)
        done = cadre("chat", base, "--lora", adapter, input=b"Where is the horse, number 3?\n")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_adapters_killed_at_any_moment_end_in_the_same_bits(self):
        whole, killed = self.folder / "lora-whole", self.folder / "lora-killed"
        arguments = [*self.LORA, "--set", "train.keep=best"]
        done = cadre(*self.run_command("sft", whole, *arguments))
        self.assertEqual(done.returncode, 0, done.stderr)
        resumed = self.run_command("sft", killed, *arguments, "--resume")
        kill_often([PROGRAM, *resumed], killed, 5, seed=8, most_moves=5)
        last = cadre(*resumed)
        self.assertEqual(last.returncode, 0, last.stderr)
        for file in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "best/adapter_model.safetensors"):
            self.assertEqual((killed / file).read_bytes(), (whole / file).read_bytes(), file)

    def test_adapters_take_preferences_and_go_on_from_others(self):
        base, told, out = self.folder / "base" / "model", self.folder / "lora-told", self.folder / "lora-dpo"
        done = cadre(*self.run_command("sft", told, *self.LORA, "--set", "train.steps=4", "--set", f"model={base}"))
        self.assertEqual(done.returncode, 0, done.stderr)
        begins = ("--set", f"lora.from={told / 'adapter'}", "--set", "train.lr=0.02")
        done = cadre(*self.run_command("dpo", out, *begins))
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = metrics_of(out)
        self.assertAlmostEqual(lines[1]["dpo_loss"], math.log(2), places=6)
        self.assertGreater(lines[-1]["valid"]["rewards/accuracies"], 0.8)
        told_logits = self.logits(base, "told.npy", "--lora", told / "adapter")
        self.assertNotEqual(told_logits, self.logits(base, "preferred.npy", "--lora", out / "adapter"))
        reference = (out / "reference.jsonl").read_text().splitlines()[0]
        other = self.folder / "lora-dpo-new"
        done = cadre(*self.run_command("dpo", other, "--set", "lora.rank=4", "--set", "train.steps=1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual((other / "reference.jsonl").read_text().splitlines()[0], reference)

    def test_wrong_adapters_are_one_error(self):
        out, gguf = self.folder / "wrong-lora", self.folder / "base" / "tiny.gguf"
        self.expect_error(*self.run_command("sft", out, "--set", "lora.alpha=3"), says="lora.alpha is for new adapters")
        self.expect_error(*self.run_command("sft", out, "--set", "lora.rank=3", "--set", "lora.from=x"), says="choose one")
        self.expect_error(*self.run_command("sft", out, "--set", "lora.rank=3000"), says="lora.rank is 3000")
        self.expect_error(*self.run_command("sft", out, "--set", "lora.rank=2", "--set", 'lora.matrices=["w4"]'), says="w4")
        self.expect_error(*self.run_command("sft", out, "--set", "lora.rank=2", "--set", "train.precision=bf16"), says="quantised")
        self.expect_error("generate", gguf, "-p", "The", "--lora", self.folder / "nowhere", says="nowhere")
        self.expect_error("generate", gguf, "-p", "The", "--lora", self.folder / "base" / "model", says="adapter_")


if __name__ == "__main__":
    unittest.main()
