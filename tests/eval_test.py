#!/usr/bin/env python3
"""End-to-end tests of `cadre eval` on nano, with files of their own. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import math
import random
import signal
import struct
import subprocess
import time
import unittest

from eval_case import NANO, PROGRAM, EvalCase, cadre, records_of, text_of, write_lines


def mmlu_line(draws, subject):
    return {"subject": subject, "question": text_of(draws, 3, 9) + "?", "choices": [text_of(draws, 1, 3) for _ in range(4)],
            "answer": draws.randrange(4)}


def lines_of(task, draws, count):
    """Lines in the form in which the task is published."""

    def line(number):
        answers = [text_of(draws, 1, 5) for _ in range(4)]
        gold = draws.randrange(4)
        lettered = [{"text": answer, "label": "ABCD"[i]} for i, answer in enumerate(answers)]
        if task == "mmlu":
            return mmlu_line(draws, ["river_law", "mill_work"][number % 2])
        if task == "hellaswag":
            return {"ind": number, "activity_label": "Walking", "ctx_a": text_of(draws, 4, 9) + ".", "ctx_b": "he then",
                    "endings": answers, "label": gold}
        if task == "winogrande":
            return {"sentence": f"The man met the miller while _ {text_of(draws, 2, 5)}.", "option1": "the man",
                    "option2": "the miller", "answer": str(1 + gold % 2)}
        if task in ("arc_easy", "arc_challenge", "openbookqa", "commonsense_qa"):
            return {"id": f"q{number}", "question": {"stem": text_of(draws, 4, 9) + "?", "choices": lettered},
                    "answerKey": "ABCD"[gold]}
        if task == "piqa":
            return {"goal": text_of(draws, 3, 6), "sol1": answers[0], "sol2": answers[1], "label": gold % 2}
        if task == "siqa":
            return {"context": text_of(draws, 4, 9) + ".", "question": "Why?", "answerA": answers[0], "answerB": answers[1],
                    "answerC": answers[2], "label": str(1 + gold % 3)}
        if task == "boolq":
            return {"passage": text_of(draws, 9, 30), "question": text_of(draws, 3, 6), "answer": gold % 2 == 0}
        if task == "lambada":
            return {"text": text_of(draws, 6, 30)}
        assert task.startswith("truthfulqa"), task
        return {"Question": text_of(draws, 3, 6) + "?", "Best Answer": answers[0], "Correct Answers": [answers[0], answers[1]],
                "Incorrect Answers": answers[2:]}

    return [line(number) for number in range(count)]


TASKS = {"mmlu": ["acc"], "hellaswag": ["acc", "acc_norm"], "winogrande": ["acc"], "arc_easy": ["acc", "acc_norm"],
         "arc_challenge": ["acc", "acc_norm"], "openbookqa": ["acc", "acc_norm"], "piqa": ["acc", "acc_norm"], "siqa": ["acc"],
         "commonsense_qa": ["acc"], "boolq": ["acc"], "lambada": ["acc", "perplexity"], "truthfulqa": ["mc1", "mc2"],
         "truthfulqa_mc1": ["acc"], "truthfulqa_mc2": ["acc"]}


class EvalTest(EvalCase):
    def data(self, task, count=8, seed=1, name="items"):
        return write_lines(self.folder / f"{name}-{task}.jsonl", lines_of(task, random.Random(seed), count))

    def test_every_task_has_its_figures_and_a_record_that_gives_them(self):
        for task, metrics in TASKS.items():
            with self.subTest(task=task):
                record = self.folder / f"{task}.record.jsonl"
                answer = self.eval(task, "--data", self.data(task), "--shots", "0", "--record", record)
                self.assertEqual((answer["task"], answer["items"], answer["shots"]), (task, 8, 0))
                lines = records_of(record)[1:]
                self.assertEqual(sorted(line["index"] for line in lines), list(range(8)))
                for metric in metrics:
                    if metric == "perplexity":
                        mean = -sum(line["choices"][0]["log_likelihood"] for line in lines) / 8
                        self.assertAlmostEqual(answer["perplexity"] / math.exp(mean), 1, places=9)
                        continue
                    values = [line[metric] for line in lines]
                    mean = sum(values) / 8
                    self.assertAlmostEqual(answer[metric], mean, places=12)
                    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 7 / 8)
                    self.assertAlmostEqual(answer[f"{metric}_stderr"], error, places=12)
                self.assertEqual(answer["stderr"], answer[f"{metrics[0]}_stderr"])
                for line in lines:
                    sums = [choice["log_likelihood"] for choice in line["choices"]]
                    self.assertEqual(line["answer"], sums.index(max(sums)))
                    if "acc_norm" in metrics:
                        normed = [choice["log_likelihood"] / choice["characters"] for choice in line["choices"]]
                        self.assertEqual(line["acc_norm"], float(normed.index(max(normed)) == line["gold"]))

    def test_prompts_begin_with_bos_and_say_what_the_templates_say(self):
        dev = write_lines(self.folder / "mmlu_dev.jsonl", [mmlu_line(random.Random(i), "mill_work") for i in range(3)])
        test = write_lines(self.folder / "mmlu_test.jsonl", [mmlu_line(random.Random(9), "mill_work")])
        record = self.folder / "record.jsonl"
        # The first two examples of the subject, out of the file beside the data.
        answer = self.eval("mmlu", "--data", test, "--shots", "2", "--record", record)
        self.assertEqual(answer["shots_data"], [str(dev)])
        ids = records_of(record)[1]["prompt_ids"]
        self.assertEqual(ids[0], 1)
        self.assertNotIn(1, ids[1:])

        def asked(line):
            return (line["question"] + "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", line["choices"]))
                    + "\nAnswer:")

        lines = [json.loads(line) for line in dev.read_text().splitlines()]
        expected = "The following are multiple choice questions (with answers) about mill work.\n\n"
        for line in lines[:2]:
            expected += asked(line) + " " + "ABCD"[line["answer"]] + "\n\n"
        expected += asked(json.loads(test.read_text()))
        self.assertEqual(self.decoded(ids), expected)
        whole = self.eval("mmlu", "--data", self.folder, "--shots-data", dev, "--shots", "2")
        self.assertEqual(whole["acc"], answer["acc"])
        self.assertEqual(whole["groups"]["mill_work"]["items"], 1)

    def test_log_likelihoods_are_those_of_the_logits(self):
        record = self.folder / "record.jsonl"
        self.eval("hellaswag", "--data", self.data("hellaswag", 2), "--activations", "f32", "--record", record)
        for line in records_of(record)[1:]:
            for choice in line["choices"]:
                ids = line["prompt_ids"] + choice["ids"]
                out = self.folder / "logits.npy"
                self.assertEqual(cadre("logits", NANO, "--ids", " ".join(map(str, ids)), "--out", out).returncode, 0)
                raw = out.read_bytes()
                begin = 10 + struct.unpack_from("<H", raw, 8)[0]
                vocab = (len(raw) - begin) // 4 // len(ids)
                total = 0.0
                for at in range(len(line["prompt_ids"]), len(ids)):
                    row = struct.unpack_from(f"<{vocab}f", raw, begin + 4 * vocab * (at - 1))
                    top = max(row)
                    total += row[ids[at]] - top - math.log(sum(math.exp(value - top) for value in row))
                self.assertAlmostEqual(choice["log_likelihood"], total, places=6)

    def test_sharing_and_threads_change_no_bit(self):
        for task in ("mmlu", "hellaswag", "winogrande", "truthfulqa"):
            data, records = self.data(task, 24), []
            for i, arguments in enumerate((("--threads", "1"), ("--threads", "2"), ("--one-by-one",))):
                record = self.folder / f"{task}-{i}.jsonl"
                self.eval(task, "--data", data, "--shots", "1", "--record", record, *arguments)
                records.append(record.read_bytes())
            self.assertEqual(records[0], records[1], task)
            self.assertEqual(records[0], records[2], task)

    def test_a_killed_run_goes_on_to_the_same_record(self):
        data, record, whole = self.data("hellaswag", 200), self.folder / "killed.jsonl", self.folder / "whole.jsonl"
        arguments = ("--shots", "2")
        expected = self.eval("hellaswag", "--data", data, *arguments, "--record", whole)
        command = [PROGRAM, "eval", NANO, "--task", "hellaswag", "--data", data, *arguments, "--record", record, "--resume"]
        draws, kills = random.Random(5), 0
        for _ in range(40):
            size = record.stat().st_size if record.exists() else 0
            process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            while process.poll() is None and (record.stat().st_size if record.exists() else 0) <= size:
                time.sleep(0.002)
            time.sleep(draws.uniform(0, 0.05))
            process.kill()
            message = process.communicate()[1]
            self.assertIn(process.returncode, (0, -signal.SIGKILL), message)
            kills += process.returncode != 0
            if process.returncode == 0 or kills == 5:
                break
            if kills % 2 == 1:  # a line that was being written
                with record.open("r+b") as file:
                    file.truncate(record.stat().st_size - 7)
        self.assertGreater(kills, 0)
        answer = self.eval("hellaswag", "--data", data, *arguments, "--record", record, "--resume")
        self.assertEqual(record.read_bytes(), whole.read_bytes())
        for key in ("acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "items"):
            self.assertEqual(answer[key], expected[key])
        self.assertGreater(answer["items_from_record"], 0)

    def test_too_long_prompts_lose_their_beginning(self):
        record = self.folder / "record.jsonl"
        answer = self.eval("boolq", "--data", self.data("boolq", 4), "--context", "12", "--record", record)
        self.assertEqual(answer["items_cut"], 4)
        for line in records_of(record)[1:]:
            self.assertTrue(line["cut"])
            for choice in line["choices"]:
                self.assertEqual(len(choice.get("prompt_ids", line.get("prompt_ids"))) + len(choice["ids"]), 13)

    def test_the_table_has_the_published_figure(self):
        done = cadre("eval", NANO, "--task", "arc-challenge", "--data", self.data("arc_challenge"))
        self.assertEqual(done.returncode, 0, done.stderr)
        text = done.stdout.decode()
        self.assertRegex(text, r"^ARC challenge, 8 items, 0 shots, [0-9.]+ items/s\n")
        self.assertRegex(text, r"\nacc_norm +[0-9.]+ %  \+- [0-9.]+   Mixtral 8x7B: 59\.7 % \(0 shots, table 2\)\n")
        done = cadre("eval", NANO, "--task", "mmlu", "--data", self.data("mmlu"), "--limit", "3")
        self.assertIn(b"published with 5 examples, but there is no --shots-data", done.stderr)
        self.assertRegex(done.stdout.decode(), r"\nriver law +2 items ")

    def test_what_is_wrong_is_said_in_one_line(self):
        bad = self.folder / "bad.jsonl"
        bad.write_text('{"goal": "a", "sol1": "b", "sol2": "c", "label": 0}\n{"goal": 3, "sol1": "b", "sol2": "c", "label": 0}\n', encoding="utf-8")
        self.expect_error(NANO, "--task", "piqa", "--data", bad, says="bad.jsonl:2: goal is 3 but must be a string")
        good = self.data("piqa")
        self.expect_error(NANO, "--task", "nothing", "--data", good, code=2, says="must be one of mmlu")
        self.expect_error(NANO, "--task", "piqa", "--data", good, "--resume", code=2, says="--record")
        self.expect_error(NANO, "--task", "piqa", "--data", self.folder / "nowhere.jsonl", says="nowhere.jsonl")
        self.expect_error(NANO, "--task", "piqa", "--data", good, "--shots", "20", says="holds 8 examples but must hold 21")
        record = self.folder / "record.jsonl"
        self.eval("piqa", "--data", good, "--record", record)
        self.expect_error(NANO, "--task", "piqa", "--data", good, "--record", record, says="is already there")
        self.expect_error(NANO, "--task", "piqa", "--data", self.data("piqa", seed=2, name="other"), "--record", record, "--resume",
                          says="is of another evaluation: its data_sha256")
        self.expect_error(NANO, "--task", "piqa", "--data", good, "--record", record, "--resume", "--experts", "1",
                          says="it is of another model, device or setting")


if __name__ == "__main__":
    unittest.main()
