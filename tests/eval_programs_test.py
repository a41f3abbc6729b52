#!/usr/bin/env python3
"""End-to-end tests of `cadre eval` on programs that nano writes. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository.

Ends with 77 where the machine does not permit the sandbox."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["CADRE_PROGRAM"]
NANO = pathlib.Path(os.environ["CADRE_SOURCE_DIR"]) / "models" / "nano" / "nano.gguf"

# One more token on this line is a comment, whatever it is.
GIVEN = "def f():\n    return 5\n# The"


def cadre(*arguments):
    return subprocess.run([PROGRAM, "eval", NANO, *map(str, arguments)], capture_output=True, timeout=600, check=False)


def humaneval(folder, tests):
    path = folder / "humaneval.jsonl"
    lines = [{"task_id": f"HumanEval/{i}", "prompt": GIVEN, "entry_point": "f", "canonical_solution": "", "test": test}
             for i, test in enumerate(tests)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


class ProgramsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-programs-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def eval(self, task, data, *arguments):
        done = cadre("--task", task, "--data", data, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return json.loads(done.stdout)

    def test_programs_are_run_and_their_results_recorded(self):
        outside = self.folder / "outside"
        data = humaneval(self.folder, [
            "def check(f):\n    assert f() == 5\n",
            "def check(f):\n    assert f() == 6\n",
            "def check(f):\n    while True: pass\n",
            f"def check(f):\n    open({str(outside)!r}, 'w')\n",
            "def check(f):\n    import os; os._exit(0)\n",
        ])
        record = self.folder / "record.jsonl"
        arguments = ("--max-tokens", "1", "--timeout", "2", "--record", record)
        answer = self.eval("humaneval", data, *arguments)
        self.assertFalse(outside.exists())
        self.assertEqual((answer["items"], answer["pass@1"], answer["shots"]), (5, 0.2, 0))
        self.assertAlmostEqual(answer["pass@1_stderr"], (0.2 * 0.8 / 4) ** 0.5, places=12)
        lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()][1:]
        results = [line["samples"][0]["result"] for line in lines]
        self.assertEqual(results[:3], ["passed", "failed: AssertionError", "timed out"])
        self.assertTrue(results[3].startswith("failed: FileNotFoundError"), results[3])
        self.assertEqual(results[4], "failed: no verdict (exit 0)")
        sample = lines[0]["samples"][0]
        self.assertEqual(sample["answer"], GIVEN + sample["text"] + "\ndef check(f):\n    assert f() == 5\n\ncheck(f)")
        # What a run that was stopped has recorded stays, and is not run again but for the last item.
        kept = record.read_text(encoding="utf-8").splitlines(keepends=True)[:3]
        whole = record.read_bytes()
        record.write_text("".join(kept), encoding="utf-8")
        again = self.eval("humaneval", data, *arguments, "--resume")
        self.assertEqual(record.read_bytes(), whole)
        self.assertEqual((again["pass@1"], again["items_from_record"]), (0.2, 2))

    def test_several_texts_give_pass_at_k(self):
        data = humaneval(self.folder, ["def check(f):\n    assert f() == 5\n", "def check(f):\n    assert f() == 6\n"])
        answer = self.eval("humaneval", data, "--max-tokens", "1", "--samples", "10")
        self.assertEqual((answer["pass@1"], answer["pass@10"], answer["samples"]), (0.5, 0.5, 10))

    def test_mbpp_is_shown_three_examples_and_asks_its_test_split(self):
        tests = ["assert f() == 1", "assert f() != 2", "assert f"]
        path = self.folder / "mbpp.jsonl"
        lines = [{"task_id": i, "text": "Write f.", "code": "", "test_setup_code": "", "challenge_test_list": [], "test_list": tests}
                 for i in (5, 11, 600)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        record = self.folder / "record.jsonl"
        answer = self.eval("mbpp", path, "--max-tokens", "8", "--record", record)
        self.assertEqual((answer["items"], answer["shots"]), (1, 3))
        line = json.loads(record.read_text(encoding="utf-8").splitlines()[1])
        self.assertTrue(line["samples"][0]["result"].startswith("failed: "), line)
        ids = " ".join(map(str, line["prompt_ids"]))
        done = subprocess.run([PROGRAM, "tokenize", NANO, "--decode", ids], capture_output=True, check=True)
        text = done.stdout.decode()
        # nano's 512 tokens hold the last two of the three.
        self.assertEqual((text.count("[BEGIN]"), text.count("[DONE]")), (3, 2))
        self.assertTrue(text.rstrip("\n").endswith("Write f. Your code should pass these tests:\n\n" + "\n".join(tests) + "\n[BEGIN]"))

    def test_what_is_wrong_is_said_in_one_line(self):
        data = humaneval(self.folder, ["def check(f): pass\n"])
        for arguments, says in (
                (("--task", "humaneval", "--data", data, "--python", "/bin/true"), "/bin/true: is no Python 3 interpreter"),
                (("--task", "gsm8k", "--data", data, "--timeout", "3"), "--timeout is given but GSM8K has no use for it"),
                (("--task", "piqa", "--data", data, "--python", "python3"), "--python is given but PIQA has no use for it")):
            done = cadre(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)
            self.assertIn(says, done.stderr.decode())


def is_permitted():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-programs-test-"))
    try:
        done = cadre("--task", "humaneval", "--data", humaneval(folder, ["def check(f): pass\n"]), "--max-tokens", "1")
    finally:
        shutil.rmtree(folder)
    if done.returncode != 0 and b"sandbox" in done.stderr:
        print("NOT TESTED:", done.stderr.decode(), file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    if not is_permitted():
        sys.exit(77)
    unittest.main()
