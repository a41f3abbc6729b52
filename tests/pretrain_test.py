#!/usr/bin/env python3
"""End-to-end tests of pre-training and of the report of a run: the program as its users call it. CADRE_PROGRAM names the program."""

import html.parser
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

from killed_run import kill_often

PROGRAM = os.environ["CADRE_PROGRAM"]

PROSE = """It was a bright cold day, and the clocks were striking. The old man walked along the river to the mill, where the
miller and his three daughters were at work. "Good day," said he, "have you seen my horse?" But nobody had seen it.
"""
CODE = "for (int i = 0; i < count; ++i) { total += values[i]; }\nreturn total;\n"


def cadre(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=300, check=False, **options)


def metrics_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def timeless(lines):
    return [{key: value for key, value in line.items() if key != "tokens_per_s"} for line in lines]


def bits_of(run):
    return [(run / name).read_bytes() for name in ("model/model.safetensors", "tiny.gguf", "best/model.safetensors")]


class Page(html.parser.HTMLParser):
    """What a page holds; complains of elements that are not closed in order."""

    VOID = {"meta", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


class PretrainTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-pretrain-test-"))
        draws = random.Random(4)
        words = PROSE.split()
        for name, count in (("prose", 120), ("more", 30), ("valid", 20)):
            (cls.folder / f"{name}.jsonl").write_text("".join(
                json.dumps({"text": " ".join(draws.choices(words, k=draws.randrange(10, 90)))}) + "\n" for _ in range(count)))
        (cls.folder / "code.jsonl").write_text("".join(json.dumps({"text": CODE * draws.randrange(1, 4)}) + "\n" for _ in range(40)))
        cls.config = {
            "name": "tiny", "seed": 3,
            "model": {"dim": 32, "hidden_dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "experts": 4, "context": 256},
            "tokenizer": {"vocab_size": 330},
            "data": {"folder": str(cls.folder), "train": {"prose": ["prose.jsonl", "more.jsonl"], "code": ["code.jsonl"]},
                     "weights": {"prose": 3, "code": 1}, "valid": {"prose": ["valid.jsonl"], "code": ["code.jsonl"]}},
            "train": {"steps": 24, "batch_tokens": 256, "segment_tokens": 64, "micro_tokens": 100, "warmup_steps": 4, "lr": 0.005,
                      "checkpoint_every": 4, "validate_every": 8, "dropout": 0.1, "expert_dropout": 0.2},
            "router": {"jitter": 0.02},
        }
        (cls.folder / "train.json").write_text(json.dumps(cls.config))
        cls.run_folder = cls.folder / "run"
        cls.train(cls.run_folder)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def words(cls, out, *settings):
        return ["train", "--config", cls.folder / "train.json", "--out", out,
                *(word for setting in settings for word in ("--set", setting))]

    @classmethod
    def train(cls, out, *settings, more=()):
        done = cadre(*cls.words(out, *settings), *more)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return metrics_of(out)

    def expect_error(self, *arguments, says):
        done = cadre(*arguments)
        errors = [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith("cadre: error:")]
        self.assertEqual((done.returncode, len(errors)), (1, 1), done.stderr)
        self.assertIn(says, errors[0])

    # domains

    def test_domains_are_mixed_by_weight_and_measured_apart(self):
        lines = metrics_of(self.run_folder)
        last = lines[-1]
        self.assertEqual(sum(last["tokens_of"].values()), 24 * 256)
        self.assertAlmostEqual(last["tokens_of"]["prose"] / (24 * 256), 0.75, delta=0.15)
        self.assertEqual([line["step"] for line in lines if "valid" in line], [8, 16, 24])
        for group in ("prose", "code"):
            losses = [line["valid"][group]["loss"] for line in lines if "valid" in line]
            self.assertLess(losses[-1], losses[0])
        self.assertLess(last["valid"]["code"]["loss"], math.log(330))

    def test_a_run_killed_at_any_moment_ends_in_the_same_bits(self):
        killed = self.folder / "killed"
        kill_often([PROGRAM, *self.words(killed), "--resume"], killed, kills=6, seed=5, most_moves=6)
        lines = self.train(killed, more=["--resume"])
        self.assertEqual(bits_of(killed), bits_of(self.run_folder))
        self.assertEqual(timeless(lines), timeless(metrics_of(self.run_folder)))

    def test_parts_of_a_step_make_the_same_step(self):
        plain = ("train.dropout=0", "train.expert_dropout=0", "router.jitter=0", "train.balance=0", "train.steps=6")
        whole = self.train(self.folder / "whole", *plain, "train.micro_tokens=256")
        parts = self.train(self.folder / "parts", *plain, "train.micro_tokens=64")
        for a, b in zip(whole, parts):
            self.assertAlmostEqual(a["loss"], b["loss"], places=4)
            self.assertAlmostEqual(a["grad_norm"], b["grad_norm"], places=3)

    def test_wrong_mixtures_are_one_error(self):
        out = self.folder / "wrong"
        self.expect_error(*self.words(out, 'data.weights={"prose":1}'), says="data.weights: has no weight for 'code'")
        self.expect_error(*self.words(out, 'data.weights={"verse":1}'), says="has 'verse', which is none of data.train")
        self.expect_error(*self.words(out, 'data.train={"prose":["no.jsonl"],"code":["code.jsonl"]}'), says="no.jsonl")
        self.expect_error(*self.words(self.run_folder, 'data.weights={"prose":1,"code":1}'), "--resume", says="data.weights")

    # schedule and end

    def test_a_stable_phase_can_be_made_longer(self):
        wsd = ("train.schedule=wsd", "train.decay=linear", "train.decay_steps=6", "train.final_lr_share=0")
        short = self.folder / "wsd"
        lines = self.train(short, *wsd)
        rates = [line["lr"] for line in lines]
        self.assertEqual(rates[4:18], [0.005] * 14)
        for k in range(1, 7):
            self.assertAlmostEqual(rates[17 + k], 0.005 * (1 - k / 6), places=12)
        whole = self.folder / "wsd-whole"
        self.train(whole, *wsd, "train.steps=36")
        longer = self.train(short, *wsd, "train.steps=36", more=["--resume"])
        self.assertEqual(bits_of(short), bits_of(whole))
        self.assertEqual(timeless(longer), timeless(metrics_of(whole)))
        self.expect_error(*self.words(short, *wsd, "train.steps=37"), "--resume", "--set", "train.schedule=cosine", "--log-level",
                          "error", says="train.decay")

    def test_a_run_ends_when_validations_get_no_better(self):
        out = self.folder / "patient"
        settings = ("train.patience=2", "train.lr=1e-12", "train.validate_every=1", "train.keep=best")
        lines = self.train(out, *settings)
        self.assertLess(len(lines), 24)
        self.assertEqual((out / "model" / "model.safetensors").read_bytes(), (out / "best" / "model.safetensors").read_bytes())
        scores = [line["score"] for line in lines]
        self.assertEqual(scores.index(min(scores)), len(scores) - 3)
        self.assertEqual(len(self.train(out, *settings, more=["--resume"])), len(lines))

    # report

    def test_a_run_leaves_a_report_and_what_it_was_told(self):
        config = json.loads((self.run_folder / "config.json").read_text())
        self.assertEqual((config["name"], config["train.steps"], config["train.lr"]), ("tiny", 24, 0.005))
        page = Page((self.run_folder / "report.html").read_text())
        self.assertEqual(page.links, ["data:,"])
        text = " ".join(page.text)
        for words in ("tiny", "validation, prose", "Learning rate", "Gradient norm", "Load of the experts", "Tokens by source",
                      "train.expert_dropout", "Bits per byte"):
            self.assertIn(words, text)
        drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
        self.assertGreaterEqual(len(drawings), 8)
        for attributes in drawings:
            self.assertEqual(attributes["role"], "img")
            self.assertTrue(attributes["aria-label"])

    def test_what_a_run_was_told_trains_the_same_again(self):
        out = self.folder / "told"
        done = cadre("train", "--config", self.run_folder / "config.json", "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(bits_of(out), bits_of(self.run_folder))

    def test_a_report_can_be_made_of_any_run(self):
        out = self.folder / "copy"
        out.mkdir()
        text = (self.run_folder / "metrics.jsonl").read_bytes()
        (out / "metrics.jsonl").write_bytes(text[:-40])  # killed while it wrote
        (out / "config.json").write_bytes((self.run_folder / "config.json").read_bytes())
        elsewhere = self.folder / "elsewhere.html"
        done = cadre("report", out, "--out", elsewhere, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual((told["report"], told["step"], told["best_step"], told["alarms"]), (str(elsewhere), 23, 16, []))
        Page(elsewhere.read_text())
        self.assertFalse((out / "report.html").exists())
        # Of the whole run it is, byte for byte, what the run has written.
        done = cadre("report", self.run_folder, "--out", elsewhere)
        self.assertEqual(done.stdout.decode(), f"{elsewhere} is written\n")
        self.assertEqual(elsewhere.read_bytes(), (self.run_folder / "report.html").read_bytes())
        self.expect_error("report", self.folder, says="is no folder of a run: metrics.jsonl is missing")
        self.expect_error("report", self.run_folder, "--out", self.folder / "no" / "such.html", says="such.html")


if __name__ == "__main__":
    unittest.main()
