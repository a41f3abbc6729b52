#!/usr/bin/env python3
"""tools/instruction_table.py tunes both models on one task and on all, keeps what is done, goes on with what was killed, and prints its
table. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

TOOL = pathlib.Path(os.environ["CADRE_SOURCE_DIR"]) / "tools" / "instruction_table.py"
TINY = ["model.dim=16", "model.hidden_dim=16", "model.layers=1", "model.heads=2", "model.kv_heads=1", "train.batch_tokens=64",
        "train.segment_tokens=32", "train.warmup_steps=2"]
TUNING = ["train.batch_tokens=128", "train.segment_tokens=64", "train.warmup_steps=1", "train.lr=0.01"]


class InstructionTableTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="cadre-instruction-table-test-")
        self.folder = pathlib.Path(self.temporary.name)
        chosen = random.Random(3)
        words = ["".join(chosen.choices(["ka", "do", "mi", "re", "su", "te", "lo", "ni"], k=chosen.randint(1, 3))) for _ in range(60)]
        for name, count in (("train.txt", 3000), ("valid.txt", 200)):
            (self.folder / name).write_text(" ".join(chosen.choices(words, k=count)), encoding="utf-8")
        for task, answer in (("twice", lambda word: f"{word} {word}"), ("back", lambda word: word[::-1])):
            lines = [{"instruction": f"{task} {word} {number}", "output": answer(word)} for number in range(4) for word in words]
            (self.folder / f"{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def tearDown(self):
        self.temporary.cleanup()

    def command(self, *more):
        settings = [word for setting in TINY for word in ("--set", setting)] + [word for setting in TUNING for word in ("--tune", setting)]
        return [sys.executable, str(TOOL), "--cadre", os.environ["CADRE_PROGRAM"], "--data", str(self.folder), "--out",
                str(self.folder / "runs"), "--train", "train.txt", "--valid", "valid.txt", "--vocab", "300", "--threads", "1",
                "--held-back", "0.2", "--task", f"twice={self.folder / 'twice.jsonl'}", "--task", f"back={self.folder / 'back.jsonl'}",
                *settings, *more]

    def test_gains_are_told_before_and_after(self):
        arguments = ("--tokens", "640", "--steps", "6", "--seeds", "1,2")
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 2 + 4 + 2)
        self.assertIn("multi-task, then single-task | twice", lines[5])
        self.assertIn("±", lines[2])
        found = json.loads((self.folder / "runs" / "table.json").read_text(encoding="utf-8"))
        self.assertEqual(found["target"], "twice")
        for runs in found["runs"].values():
            self.assertEqual(len(runs), 2)
            for run in runs:
                self.assertLess(run["losses"]["single"]["twice"], run["losses"]["before"]["twice"])
                self.assertEqual(set(run["losses"]["multi"]), {"twice", "back"})
        active = {model: runs[0]["parameters"]["active"] for model, runs in found["runs"].items()}
        self.assertLess(abs(active["sparse"] / active["dense"] - 1), 0.2)
        gains = [dense["losses"]["single"]["twice"] - sparse["losses"]["single"]["twice"]
                 for dense, sparse in zip(found["runs"]["dense"], found["runs"]["sparse"])]
        self.assertIn(f"{statistics.fmean(gains):.4f} ± {statistics.stdev(gains):.4f}", lines[3])
        # A second call trains nothing and says the same.
        again = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(again.stdout, done.stdout)

    def test_a_killed_table_goes_on(self):
        arguments = ("--tokens", "640", "--steps", "120", "--seeds", "1", "--tune", "train.checkpoint_every=5")
        metrics = self.folder / "runs" / "dense-1-single" / "metrics.jsonl"
        with subprocess.Popen(self.command(*arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            until = time.monotonic() + 120
            while time.monotonic() < until and not (metrics.exists() and metrics.read_text().count("\n") > 20):
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        before = metrics.read_text(encoding="utf-8").splitlines()
        self.assertGreater(len(before), 20)
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        after = metrics.read_text(encoding="utf-8").splitlines()
        self.assertEqual([json.loads(line)["step"] for line in after], list(range(121)))
        self.assertEqual(after[9], before[9])  # the same lines: not begun anew

    def test_wrong_tasks_are_refused(self):
        for more, says in ((["--target", "none"], "no task none"), (["--task", "nothing"], "takes NAME=FILE")):
            done = subprocess.run(self.command(*more), capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertIn(says, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
