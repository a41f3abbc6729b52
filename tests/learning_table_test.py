#!/usr/bin/env python3
"""tools/learning_table.py trains every router, keeps what is done, goes on with what was killed, and prints its table.
CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOOL = pathlib.Path(os.environ["CADRE_SOURCE_DIR"]) / "tools" / "learning_table.py"
TINY = ["model.dim=16", "model.hidden_dim=16", "model.layers=1", "model.heads=2", "model.kv_heads=1", "train.batch_tokens=64",
        "train.segment_tokens=32", "train.warmup_steps=2"]


class LearningTableTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="cadre-learning-table-test-")
        self.folder = pathlib.Path(self.temporary.name)
        chosen = random.Random(3)
        syllables = ["ka", "do", "mi", "re", "su", "te", "lo", "ni", "va", "po"]
        words = ["".join(chosen.choices(syllables, k=chosen.randint(1, 4))) for _ in range(300)]
        for name, count in (("train.txt", 4000), ("valid.txt", 200)):
            (self.folder / name).write_text(" ".join(chosen.choices(words, k=count)), encoding="utf-8")

    def tearDown(self):
        self.temporary.cleanup()

    def command(self, *more):
        settings = [word for setting in TINY for word in ("--set", setting)]
        return [sys.executable, str(TOOL), "--cadre", os.environ["CADRE_PROGRAM"], "--data", str(self.folder), "--out",
                str(self.folder / "runs"), "--train", "train.txt", "--valid", "valid.txt", "--vocab", "300", "--threads", "1",
                *settings, *more]

    def test_every_variant_is_trained_and_told(self):
        done = subprocess.run(self.command("--tokens", "1920", "--seeds", "1,2"), capture_output=True, text=True, check=False, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 2 + 7)
        rows = json.loads((self.folder / "runs" / "table.json").read_text(encoding="utf-8"))
        self.assertEqual([len(runs) for runs in rows.values()], [2] * 7)
        for key, runs in rows.items():
            self.assertEqual(runs[0]["drop_rate"] is not None, key.startswith("switch"), key)
            self.assertNotEqual(runs[0]["loss"], runs[1]["loss"])
        self.assertGreater(rows["switch-1.0"][0]["drop_rate"], rows["switch-1.5"][0]["drop_rate"])
        self.assertIn("Switch top-1, capacity 1.25", done.stdout)
        self.assertIn("±", lines[2])
        # A second call trains nothing and says the same.
        again = subprocess.run(self.command("--tokens", "1920", "--seeds", "1,2"), capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(again.stdout, done.stdout)

    def test_a_killed_table_goes_on(self):
        arguments = ("--tokens", "19200", "--seeds", "1", "--variants", "dense,top2", "--set", "train.checkpoint_every=5")
        metrics = self.folder / "runs" / "dense-1" / "metrics.jsonl"
        with subprocess.Popen(self.command(*arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            until = time.monotonic() + 120
            while time.monotonic() < until and not (metrics.exists() and metrics.read_text().count("\n") > 20):
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        before = metrics.read_text(encoding="utf-8").splitlines()
        self.assertGreater(len(before), 20)
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        steps = [json.loads(line)["step"] for line in metrics.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(steps, list(range(1, 301)))
        self.assertEqual(metrics.read_text(encoding="utf-8").splitlines()[9], before[9])  # the same lines: not begun anew
        other = subprocess.run(self.command(*arguments, "--set", "train.lr=0.1"), capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(other.returncode, 1)
        self.assertIn("other settings", other.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
