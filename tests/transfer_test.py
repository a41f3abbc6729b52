#!/usr/bin/env python3
"""End-to-end tests of distill and upcycle: the program as its users call it. CADRE_PROGRAM names the program."""

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
WORDS = ["river", "mill", "horse", "clock", "miller", "daughter", "morning", "old", "man", "road"]


def cadre(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=300, check=False, **options)


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def text(seed, sentences):
    """Sentences of a little grammar: something to learn, and much of it."""
    draws = random.Random(seed)
    pick = lambda: draws.choice(WORDS)
    return " ".join(f"the {(w := pick())} saw the {pick()} and the {w} went home." for _ in range(sentences))


def read_npy(path):
    raw = path.read_bytes()
    size = struct.unpack_from("<H", raw, 8)[0]
    return struct.unpack_from(f"<{(len(raw) - 10 - size) // 4}f", raw, 10 + size)


class TransferTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-transfer-test-"))
        (cls.folder / "train.txt").write_text(text(1, 700), encoding="utf-8")
        (cls.folder / "valid.txt").write_text(text(2, 40), encoding="utf-8")
        data = {"folder": str(cls.folder), "train": ["train.txt"], "valid": {"grammar": ["valid.txt"]}}
        shape = {"dim": 32, "hidden_dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "experts": 4, "context": 256}
        base = {"name": "teacher", "seed": 3, "model": shape, "tokenizer": {"vocab_size": 300}, "data": data, "gguf_type": "q8_0",
                "train": {"steps": 60, "batch_tokens": 256, "segment_tokens": 64, "warmup_steps": 5, "lr": 0.01}}
        cls.must("train", cls.folder / "teacher", base)
        tokenizer = {"path": str(cls.folder / "teacher" / "tokenizer.model")}
        cls.must("train", cls.folder / "dense", base | {"name": "dense", "tokenizer": tokenizer, "model": shape | {"experts": 1, "hidden_dim": 64},
                                                        "train": base["train"] | {"steps": 20}})
        steps = {"steps": 12, "batch_tokens": 256, "segment_tokens": 64, "micro_tokens": 100, "lr": 0.005, "warmup_steps": 2,
                 "checkpoint_every": 3, "validate_every": 4, "validate_tokens": 200, "dropout": 0.1}
        cls.configs = {
            "distill": {"name": "student", "seed": 4, "teacher": str(cls.folder / "teacher" / "teacher.gguf"), "data": data, "train": steps,
                        "distill": {"weight": 0.7, "temperature": 2}, "baseline": "random"},
            "upcycle": {"name": "sparse", "seed": 5, "model": str(cls.folder / "dense" / "model"), "data": data, "train": steps,
                        "upcycle": {"experts": 4, "redraw": 0.25}, "baseline": "dense"},
        }
        cls.tables = {name: cls.must(name, cls.folder / name, config).stdout.decode() for name, config in cls.configs.items()}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def must(cls, command, out, config, *more):
        path = cls.folder / f"{command}-{out.name}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        done = cadre(command, "--config", path, "--out", out, *more)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return done

    def arguments(self, command, out, *settings, resume=False):
        words = [command, "--config", self.folder / f"{command}-{command}.json", "--out", out]
        for setting in settings:
            words += ["--set", setting]
        return [*words, "--resume"] if resume else words

    def run_with(self, command, name, *settings):
        out = self.folder / name
        done = cadre(*self.arguments(command, out, *settings))
        self.assertEqual(done.returncode, 0, done.stderr)
        return out

    def expect_error(self, *arguments, says):
        done = cadre(*arguments)
        message = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 1, message)
        errors = [line for line in message.splitlines() if line.startswith("cadre: error:")]
        self.assertEqual(len(errors), 1, message)
        self.assertIn(says, errors[0])

    def logits(self, model):
        out = self.folder / "logits.npy"
        done = cadre("logits", model, "--prompt", "the old man saw the mill", "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return read_npy(out)

    def kill_often(self, command, kills):
        """Kills the command so often, at moments told by what it has written, lets it end, and compares with the run of setUpClass."""
        name = self.configs[command]["name"]
        killed, whole = self.folder / f"{command}-killed", self.folder / command
        kill_often([PROGRAM, *self.arguments(command, killed, resume=True)], killed, kills, seed=7, most_moves=8)
        last = cadre(*self.arguments(command, killed, resume=True))
        self.assertEqual(last.returncode, 0, last.stderr)
        for file in ("model/model.safetensors", f"{name}.gguf", "best/model.safetensors", "report.json", "baseline/model/model.safetensors",
                     f"baseline/{name}-baseline.gguf"):
            self.assertEqual((killed / file).read_bytes(), (whole / file).read_bytes(), file)
        for run in ("", "baseline"):
            lines = [[{k: v for k, v in line.items() if k != "tokens_per_s"} for line in lines_of(of / run)] for of in (killed, whole)]
            self.assertEqual(*lines)

    # distill

    def test_a_student_comes_nearer_to_its_teacher(self):
        lines = lines_of(self.folder / "distill")
        self.assertEqual([line["step"] for line in lines], list(range(13)))
        before, after = lines[0]["valid"]["grammar"], lines[-1]["valid"]["grammar"]
        self.assertLess(after["kl"], 0.7 * before["kl"])
        self.assertGreater(after["top1_agreement"], before["top1_agreement"])
        for key in ("step", "loss", "lr", "tokens_per_s", "tokens", "grad_norm", "balance", "expert_load", "cross_entropy", "divergence",
                    "top1_agreement"):
            self.assertIn(key, lines[1])
        last = lines[5]
        self.assertAlmostEqual(last["loss"], 0.7 * 4 * last["divergence"] + 0.3 * last["cross_entropy"], places=6)
        self.assertEqual(lines[-1]["tokens"], 12 * 256)

    def test_the_report_says_what_is_retained(self):
        report = json.loads((self.folder / "distill" / "report.json").read_text())
        last = lines_of(self.folder / "distill")[-1]["valid"]
        baseline_last = lines_of(self.folder / "distill" / "baseline")[-1]["valid"]
        teacher, student, baseline = (report[name] for name in ("teacher", "student", "baseline"))
        self.assertAlmostEqual(student["loss"], last["grammar"]["loss"], places=6)
        self.assertAlmostEqual(baseline["loss"], baseline_last["grammar"]["loss"], places=6)
        self.assertAlmostEqual(teacher["loss"], last["grammar"]["teacher_loss"], places=6)
        gain = (baseline["loss"] - student["loss"]) / (baseline["loss"] - teacher["loss"])
        self.assertAlmostEqual(report["gain_retained"], gain, places=9)
        self.assertAlmostEqual(last["gain_retained"], gain, places=5)
        self.assertGreater(gain, 0.05)
        self.assertAlmostEqual(student["perplexity"], math.exp(student["loss"]), places=6)
        self.assertEqual(student["tokens"], teacher["tokens"])
        self.assertLess(student["kl"], baseline["kl"])
        self.assertGreater(teacher["parameters"]["total"], student["parameters"]["total"])
        self.assertEqual(student["parameters"]["total"], student["parameters"]["active"])
        table = self.tables["distill"]
        for row in ("| teacher |", "| student |", "| baseline |", "gain retained: "):
            self.assertIn(row, table)
        self.assertIn(f"{student['loss']:.4f}", table)

    def test_the_report_is_of_the_models_that_are_written(self):
        # The loss by hand, of the first 64 tokens of the held-back text.
        report = json.loads((self.folder / "distill" / "report.json").read_text())
        done = cadre("perplexity", self.folder / "distill" / "model", "--file", self.folder / "valid.txt", "--context", "64", "--json",
                     "--against", self.folder / "teacher" / "teacher.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        other = json.loads(done.stdout)
        self.assertLess(abs(math.log(other["perplexity"]) - report["student"]["loss"]), 0.5)
        self.assertLess(abs(other["kl_mean"] - report["student"]["kl"]), 0.3)

    def test_distill_killed_at_any_moment_ends_in_the_same_bits(self):
        self.kill_often("distill", 6)

    def test_every_divergence_and_beginning_works(self):
        common = ["train.steps=3", "baseline=none", "data.valid={}"]
        for name, settings in {"reverse": ["distill.loss=reverse_kl"], "js": ["distill.loss=js", "distill.beta=0.3", "student.merge=equal"],
                               "copied": ["student.init=copied", "student.hidden_dim=48"],
                               "random": ["student.init=random", "student.dim=16", "student.layers=1", "student.heads=2", "student.kv_heads=1"],
                               "rounded": ["distill.teacher_activations=auto"],
                               "given": ["student.init=model", f"student.model={self.folder / 'dense' / 'model'}"]}.items():
            out = self.run_with("distill", f"distill-{name}", *common, *settings)
            shown = json.loads(cadre("inspect", out / "model", "--json").stdout)
            self.assertEqual(shown["experts"], 1)
            self.assertEqual(shown["layers"], 1 if name == "random" else 2)
            self.assertTrue(math.isfinite(lines_of(out)[-1]["loss"]))
            self.assertFalse((out / "report.json").exists())
            done = cadre("generate", out / "student.gguf", "-p", "the old man", "-n", "4")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_student_learns_the_answers_of_conversations(self):
        chats = [{"messages": [{"role": "user", "content": f"what of the {word}, {number}?"},
                               {"role": "assistant", "content": f"the {word} went home."}]} for number in range(8) for word in WORDS]
        (self.folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
        out = self.run_with("distill", "chats", "data.format=chat", 'data.train=["chats.jsonl"]', "data.valid={}", "data.held_back=0.2",
                            "baseline=same")
        lines = lines_of(out)
        self.assertLess(lines[-1]["valid"]["held_back"]["kl"], lines[0]["valid"]["held_back"]["kl"])
        self.assertIn("trained_tokens", lines[1])
        report = json.loads((out / "report.json").read_text())
        self.assertGreater(report["baseline"]["kl"], report["student"]["kl"])
        done = cadre("chat", out / "student.gguf", input=b"what of the mill, 3?\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(b"warning", done.stderr)

    def test_a_student_can_be_merged_without_training(self):
        out = self.run_with("distill", "merged", "train.steps=0", "data.train=[]", "student.merge=equal", "baseline=none")
        self.assertEqual([line["step"] for line in lines_of(out)], [0])
        report = json.loads((out / "report.json").read_text())
        self.assertIsNone(report["gain_retained"])
        self.assertAlmostEqual(report["student"]["loss"], lines_of(out)[0]["valid"]["grammar"]["loss"], places=1)

    def test_distill_refuses_what_cannot_be(self):
        out = self.folder / "wrong"
        shape = {"dim": 32, "hidden_dim": 32, "layers": 1, "heads": 4, "kv_heads": 2, "experts": 1}
        self.must("train", self.folder / "stranger", {
            "name": "stranger", "model": shape, "tokenizer": {"vocab_size": 320}, "data": {"folder": str(self.folder), "train": ["valid.txt"]},
            "train": {"steps": 1, "batch_tokens": 64, "segment_tokens": 64}})
        self.expect_error(*self.arguments("distill", out, "student.init=model", f"student.model={self.folder / 'stranger' / 'model'}"),
                          says="has 320 pieces but must have the 300 of")
        self.expect_error(*self.arguments("distill", out, f"teacher={self.folder / 'dense' / 'model'}"), says="needs a teacher with experts")
        self.expect_error(*self.arguments("distill", out, "teacher=/nowhere"), says="/nowhere")
        self.expect_error(*self.arguments("distill", out, "distill.loss=mse"), says="distill.loss")
        self.expect_error(*self.arguments("distill", out, "student.dim=8"), says="student.init random")
        self.expect_error(*self.arguments("distill", self.folder / "distill"), says="--resume")
        self.expect_error(*self.arguments("distill", self.folder / "distill", "distill.weight=0.1", resume=True), says="another distill.weight")
        self.assertFalse((out / "metrics.jsonl").exists())

    def test_json_is_a_line_a_step_and_the_report(self):
        done = cadre(*self.arguments("distill", self.folder / "json", "train.steps=2"), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["baseline"]["step"] for line in lines[:3]], [0, 1, 2])
        self.assertEqual([line["step"] for line in lines[3:6]], [0, 1, 2])
        self.assertIn("gain_retained", lines[6]["report"])
        self.assertEqual(len(lines), 7)

    def test_a_full_disk_is_one_error_and_loses_nothing(self):
        out = self.folder / "full"

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        done = cadre(*self.arguments("distill", out, "baseline=none", "data.valid={}"), preexec_fn=small_files, restore_signals=False)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, 1, message)
        self.assertEqual(len([line for line in message.splitlines() if line.startswith("cadre: error:")]), 1, message)
        again = cadre(*self.arguments("distill", out, "baseline=none", "data.valid={}", resume=True))
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual((out / "model/model.safetensors").read_bytes(), (self.folder / "distill/model/model.safetensors").read_bytes())

    # upcycle

    def test_an_upcycled_model_begins_as_the_dense_one(self):
        dense = self.folder / "dense" / "model"
        out = self.run_with("upcycle", "converted", "train.steps=0", "upcycle.redraw=0", "data.train=[]", "data.valid={}", "baseline=none")
        shown = json.loads(cadre("inspect", out / "model", "--json").stdout)
        self.assertEqual((shown["experts"], shown["experts_per_token"]), (4, 2))
        want = self.logits(dense)
        for model in (out / "model",):
            got = self.logits(model)
            self.assertEqual(len(got), len(want))
            self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 1e-4)

    def test_upcycling_is_told_against_the_dense_model(self):
        lines = lines_of(self.folder / "upcycle")
        self.assertEqual([line["step"] for line in lines], list(range(13)))
        for key in ("step", "loss", "lr", "tokens_per_s", "tokens", "grad_norm", "balance", "expert_load", "load_entropy"):
            self.assertIn(key, lines[1])
        self.assertGreater(lines[1]["balance"], 1.5)
        report = json.loads((self.folder / "upcycle" / "report.json").read_text())
        self.assertLess(report["sparse"]["loss"], report["dense"]["loss"])
        self.assertAlmostEqual(report["sparse"]["loss"], lines[-1]["valid"]["grammar"]["loss"], places=6)
        self.assertAlmostEqual(report["gain_over_dense"], report["dense"]["loss"] - report["sparse"]["loss"], places=9)
        self.assertAlmostEqual(report["gain_over_baseline"], report["baseline"]["loss"] - report["sparse"]["loss"], places=9)
        self.assertLess(report["baseline"]["loss"], report["dense"]["loss"])
        self.assertGreater(report["sparse"]["parameters"]["total"], report["dense"]["parameters"]["total"])
        self.assertIn("gain over the dense model on the same tokens: ", self.tables["upcycle"])
        done = cadre("generate", self.folder / "upcycle" / "sparse.gguf", "-p", "the old man", "-n", "4")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_upcycle_killed_at_any_moment_ends_in_the_same_bits(self):
        self.kill_often("upcycle", 6)

    def test_what_is_upcycled_can_be_distilled_again(self):
        sparse = self.run_with("upcycle", "round", "train.steps=0", "upcycle.redraw=0", "baseline=none")
        dense = self.run_with("distill", "back", f"teacher={sparse / 'model'}", "train.steps=0", "student.merge=equal", "baseline=none")
        got, want = self.logits(dense / "model"), self.logits(self.folder / "dense" / "model")
        self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 1e-4)

    def test_switch_experts_are_cadres_own(self):
        out = self.run_with("upcycle", "switch", "train.steps=2", "upcycle.experts_per_token=1", "router.norm_topk_prob=false",
                            "router.capacity_factor=1.25", "baseline=none")
        shown = json.loads(cadre("inspect", out / "model", "--json").stdout)
        self.assertEqual(shown["architecture"], "cadre_moe")
        self.assertIn("drop_rate", lines_of(out)[1])

    def test_upcycle_refuses_what_cannot_be(self):
        out = self.folder / "wrong-upcycle"
        self.expect_error(*self.arguments("upcycle", out, f"model={self.folder / 'teacher' / 'model'}"), says="has 4 experts a layer already")
        self.expect_error(*self.arguments("upcycle", out, "upcycle.experts_per_token=9"), says="must not be above upcycle.experts")
        self.expect_error(*self.arguments("upcycle", out, "data.train=[\"none.txt\"]"), says="none.txt")
        self.expect_error(*self.arguments("upcycle", self.folder / "upcycle"), says="--resume")


if __name__ == "__main__":
    unittest.main()
