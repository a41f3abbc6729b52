"""What the end-to-end tests of `cadre eval` share: the program, a folder of a test's own, files of lines, errors."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["CADRE_PROGRAM"]
SOURCE = pathlib.Path(os.environ["CADRE_SOURCE_DIR"])
NANO = SOURCE / "models" / "nano" / "nano.gguf"

WORDS = "the old man walked along a river to his mill where three daughters were at work and had seen horse".split()


def cadre(*arguments, timeout=600):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=timeout, check=False)


def text_of(draws, low, high):
    return " ".join(draws.choice(WORDS) for _ in range(draws.randint(low, high)))


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def records_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class EvalCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-eval-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def eval(self, task, *arguments, model=NANO):
        done = cadre("eval", model, "--task", task, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        self.assertEqual(done.stdout.count(b"\n"), 1)
        return json.loads(done.stdout)

    def expect_error(self, *arguments, says, code=1):
        done = cadre("eval", *arguments)
        message = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, message)
        self.assertIn(says, message)
        self.assertEqual(done.stdout, b"")

    def decoded(self, ids):
        done = cadre("tokenize", NANO, "--decode", " ".join(map(str, ids)))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().rstrip("\n")
