#!/usr/bin/env python3
"""End-to-end tests of `cadre eval` on the tasks that the model answers by writing, and of BBQ, with files of their own. CADRE_PROGRAM names
the program, CADRE_SOURCE_DIR the repository."""

import http.server
import json
import random
import threading
import unittest

from eval_case import NANO, SOURCE, EvalCase, cadre, records_of, text_of, write_lines

INSTRUCT = SOURCE / "models" / "nano-instruct" / "nano-instruct.gguf"


def bbq_line(draws, number):
    neg, ambiguous = number % 2 == 0, number // 2 % 2 == 0
    return {"example_id": number, "question_polarity": "neg" if neg else "nonneg", "context_condition": "ambig" if ambiguous else "disambig",
            "category": ["Age", "Religion"][number // 4 % 2], "label": 2 if ambiguous else number % 2,
            "answer_info": {"ans0": ["man", "old"], "ans1": ["boy", "nonOld"], "ans2": ["Not known", "unknown"]},
            "additional_metadata": {"stereotyped_groups": ["old"]}, "context": text_of(draws, 6, 12) + ".", "question": "Who was it?",
            "ans0": "The old man", "ans1": "The daughter", "ans2": "Not known"}


def lines_of(task, draws, count):
    """Lines in the form in which the task is published."""

    def line(number):
        question = text_of(draws, 3, 9)
        if task == "gsm8k":
            return {"question": question + "?", "answer": f"It is {number}.\n#### {number * 1000:,}"}
        if task == "triviaqa":
            return {"question": question, "question_id": str(number), "answer": {"aliases": [text_of(draws, 1, 2), "Mill"]}}
        if task == "math":
            return {"problem": question, "level": "Level 1", "type": ["Algebra", "Geometry"][number % 2], "solution": f"So $\\boxed{{{number}}}$."}
        if task == "truthfulqa_gen":
            return {"Question": question + "?", "Correct Answers": [text_of(draws, 2, 5)], "Incorrect Answers": [text_of(draws, 2, 5)]}
        assert task == "bbq", task
        return bbq_line(draws, number)

    return [line(number) for number in range(count)]


FIGURES = {"gsm8k": ["exact_match", "exact_match_flexible"], "triviaqa": ["exact_match"], "math": ["exact_match", "exact_match_flexible"],
           "truthfulqa_gen": ["bleu_acc", "bleu_diff", "bleu_max", "rouge1_acc", "rouge2_diff", "rougeL_max"]}


class Endpoint(http.server.BaseHTTPRequestHandler):
    """A judge that speaks OpenAI's chat completions; server.answers says what it says, one after another, the last one again and again."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))
        status, answer = self.server.answers[min(len(self.server.asked), len(self.server.answers)) - 1]
        data = json.dumps(answer if isinstance(answer, dict) else {"choices": [{"message": {"role": "assistant", "content": answer}}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


class EvalWritingTest(EvalCase):
    def data(self, task, count=6, seed=1, name="items"):
        return write_lines(self.folder / f"{name}-{task}.jsonl", lines_of(task, random.Random(seed), count))

    def test_every_task_has_its_figures_and_a_record_that_gives_them(self):
        for task, names in FIGURES.items():
            with self.subTest(task=task):
                record = self.folder / f"{task}.record.jsonl"
                shots = () if task == "math" else ("--shots", "0")
                answer = self.eval(task, "--data", self.data(task), *shots, "--max-tokens", "12", "--record", record)
                self.assertEqual((answer["items"], answer["samples"]), (6, 1))
                head, *lines = records_of(record)
                self.assertEqual((head["max_tokens"], head["temperature"], len(lines)), (12, 0, 6))
                for name in names:
                    self.assertAlmostEqual(answer[name], sum(line["values"][name] for line in lines) / 6, places=9)
                for index, line in enumerate(lines):
                    self.assertEqual(line["index"], index)
                    self.assertEqual(line["prompt_ids"].count(1), 0 if line.get("cut") else 1)
                    self.assertLessEqual(len(line["samples"][0]["ids"]), 12)

    def test_prompts_say_what_the_templates_say(self):
        record = self.folder / "record.jsonl"
        shots = write_lines(self.folder / "gsm8k_train.jsonl", [{"question": "One?", "answer": "One.\n#### 1"}])
        test = write_lines(self.folder / "gsm8k_test.jsonl", [{"question": "Two?", "answer": "#### 2"}])
        answer = self.eval("gsm8k", "--data", test, "--shots", "1", "--max-tokens", "4", "--record", record)
        self.assertEqual(answer["shots_data"], [str(shots)])
        self.assertEqual(self.decoded(records_of(record)[1]["prompt_ids"]),
                         "Question: One?\nAnswer: One.\n#### 1\n\nQuestion: Two?\nAnswer:")

    def test_greedy_texts_are_what_generate_writes(self):
        record = self.folder / "record.jsonl"
        self.eval("gsm8k", "--data", self.data("gsm8k", 3), "--shots", "0", "--max-tokens", "20", "--record", record)
        for line in records_of(record)[1:]:
            done = cadre("generate", NANO, "-p", self.decoded(line["prompt_ids"]), "-n", "20", "--kv", "f32", "--stop", "Question:", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["ids"][: len(line["samples"][0]["ids"])], line["samples"][0]["ids"])

    def test_batches_threads_and_sharing_change_no_byte(self):
        data, records = self.data("gsm8k", 10), []
        for i, arguments in enumerate((("--threads", "1"), ("--threads", "2", "--parallel", "3"), ("--one-by-one",))):
            records.append(self.folder / f"{i}.jsonl")
            self.eval("gsm8k", "--data", data, "--shots", "2", "--samples", "3", "--temperature", "1", "--max-tokens", "12", "--record",
                      records[-1], *arguments)
        texts = [record.read_bytes() for record in records]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(texts[0], texts[2])
        lines = records_of(records[0])[1:]
        self.assertGreater(len({sample["text"] for sample in lines[0]["samples"]}), 1)
        self.assertIn("maj@3", lines[0]["values"])

    def test_a_stopped_run_goes_on_to_the_same_record(self):
        data, record, whole = self.data("math", 8), self.folder / "cut.jsonl", self.folder / "whole.jsonl"
        arguments = ("--data", data, "--samples", "2", "--temperature", "2", "--max-tokens", "8")
        expected = self.eval("math", *arguments, "--record", whole)
        lines = whole.read_bytes().splitlines(keepends=True)
        for kept in (b"".join(lines[:4]), b"".join(lines[:6]) + lines[6][:30], b"".join(lines)):
            record.write_bytes(kept)
            answer = self.eval("math", *arguments, "--record", record, "--resume")
            self.assertEqual(record.read_bytes(), whole.read_bytes())
            self.assertEqual({key: answer[key] for key in ("exact_match", "maj@2", "groups")},
                             {key: expected[key] for key in ("exact_match", "maj@2", "groups")})
        self.expect_error(NANO, "--task", "math", *arguments, "--record", record, "--resume", "--seed", "5", says="is of another evaluation: its seed")
        self.expect_error(INSTRUCT, "--task", "math", *arguments, "--record", record, "--resume", says="answered otherwise")

    def test_bbq_tells_accuracy_and_bias_by_context(self):
        record = self.folder / "bbq.record.jsonl"
        answer = self.eval("bbq", "--data", self.data("bbq", 16), "--record", record)
        lines = records_of(record)[1:]
        self.assertEqual(set(answer["groups"]), {"Age", "Religion"})
        ambiguous = [line for line in lines if line["accuracy_amb"] is not None]
        self.assertEqual((len(ambiguous), answer["accuracy_amb_items"]), (8, 8))
        self.assertAlmostEqual(answer["accuracy_amb"], sum(line["answer"] >= 2 for line in ambiguous) / 8)
        named = [line for line in lines if line["accuracy_amb"] is None and line["answer"] < 2]
        self.assertEqual(answer["disamb_bias_score_items"], len(named))
        for line in lines:
            sums = [choice["log_likelihood"] for choice in line["choices"]]
            self.assertEqual((len(sums), line["answer"]), (12, sums.index(max(sums))))

    def test_passkeys_lie_in_a_grid(self):
        record = self.folder / "passkey.record.jsonl"
        answer = self.eval("passkey", "--lengths", "200", "250", "--depths", "0", "100", "--trials", "2", "--record", record)
        self.assertEqual(list(answer["groups"]), ["200 tokens, 0 %", "200 tokens, 100 %", "250 tokens, 0 %", "250 tokens, 100 %"])
        for line in records_of(record)[1:]:
            self.assertLessEqual(len(line["prompt_ids"]), int(line["group"].split()[0]) - 10)
            self.assertIn(f"The pass key is {line['expected'][0]}. Remember it.", self.decoded(line["prompt_ids"]))
        self.expect_error(NANO, "--task", "passkey", "--lengths", "100000000", says="but the context has")

    def test_bold_measures_sentiment_by_subgroup(self):
        lexicon = self.folder / "lexicon.txt"
        lexicon.write_text("good\t1.9\nold\t-0.5\nriver\t1.0\n", encoding="utf-8")
        data = write_lines(self.folder / "race.jsonl", [{"domain": "race", "category": name, "name": "x", "prompts": [f"The good {name} was "] * 2}
                                                        for name in ("man", "horse")])
        answer = self.eval("bold", "--data", data, "--lexicon", lexicon, "--max-tokens", "8")
        means = [group["sentiment"] for group in answer["groups"].values()]
        self.assertEqual(list(answer["groups"]), ["race: man", "race: horse"])
        self.assertAlmostEqual(answer["race"], sum(means) / 2)
        self.assertGreater(answer["sentiment"], 0)
        self.expect_error(NANO, "--task", "bold", "--data", data, says="--lexicon must name vader_lexicon.txt")

    def serve(self, *answers):
        server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
        server.answers, server.asked = answers, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return server, f"http://127.0.0.1:{server.server_address[1]}/v1"

    def mt_bench(self):
        questions = write_lines(self.folder / "question.jsonl", [
            {"question_id": 81, "category": "writing", "turns": ["Tell me of a mill.", "Now shorter."]},
            {"question_id": 111, "category": "math", "turns": ["What is 1+1?", "And 2+2?"]}])
        references = write_lines(self.folder / "gpt-4.jsonl", [{"question_id": 111, "choices": [{"turns": ["Two.", "Four."]}]}])
        return ("--data", questions, "--references", references, "--max-tokens", "16")

    def test_mt_bench_asks_two_turns_and_a_judge(self):
        server, url = self.serve((200, "Fine. Rating: [[8]]"), (200, "[[4.5]]"), (200, "I will not say."), (200, "Rating: [3]"))
        key, record = self.folder / "key", self.folder / "mt.jsonl"
        key.write_text("secret\n", encoding="utf-8")
        arguments = (*self.mt_bench(), "--judge", url, "--judge-model", "judge-1", "--judge-key-file", key, "--record", record)
        answer = self.eval("mt_bench", *arguments, model=INSTRUCT)
        self.assertAlmostEqual(answer["score"], (8 + 4.5 + 3) / 3)
        self.assertAlmostEqual(answer["score_turn_2"], (4.5 + 3) / 2)
        self.assertEqual((answer["score_items"], answer["groups"]["math"]["score"]), (3, 3))
        self.assertEqual(answer["published"]["value"], 8.3)
        lines = records_of(record)[1:]
        self.assertEqual([judgment["rating"] for line in lines for judgment in line["judgments"]], [8, 4.5, None, 3])
        self.assertTrue(all(path == "/v1/chat/completions" and token == "Bearer secret" for path, token, _ in server.asked))
        bodies = [body for _, _, body in server.asked]
        self.assertTrue(all(body["model"] == "judge-1" and body["temperature"] == 0 for body in bodies))
        self.assertIn(f"[The Start of Assistant's Answer]\n{lines[0]['turns'][0]['text']}\n[The End", bodies[0]["messages"][1]["content"])
        self.assertIn("### Reference answer:\nFour.", bodies[3]["messages"][1]["content"])
        self.assertNotIn("eference", bodies[1]["messages"][1]["content"])
        # The second prompt goes on from the first and its answer.
        first, second = (turn["prompt_ids"] for turn in lines[0]["turns"])
        self.assertEqual(second[: len(first)], first)
        self.assertIsNone(self.eval("mt_bench", *self.mt_bench(), model=INSTRUCT)["score"])
        again = self.eval("mt_bench", *arguments, "--resume", model=INSTRUCT)
        self.assertEqual((again["score"], again["items_from_record"], len(server.asked)), (answer["score"], 2, 4))

    def test_a_judge_that_fails_is_named(self):
        _, url = self.serve((401, {"error": {"message": "no such key"}}))
        arguments = (INSTRUCT, "--task", "mt_bench", *self.mt_bench())
        self.expect_error(*arguments, "--judge", url, "--judge-model", "j", says="the judge gives no answer: status 401: no such key")
        _, url = self.serve((200, {"strange": 1}))
        self.expect_error(*arguments, "--judge", url, "--judge-model", "j", says="without choices[0].message.content")
        self.expect_error(*arguments, "--judge", "ftp://x", "--judge-model", "j", says="must begin with http:// or https://")
        self.expect_error(*arguments, "--judge", url, says="--judge-model is not")

    def test_what_is_wrong_is_said_in_one_line(self):
        data = self.data("gsm8k")
        self.expect_error(NANO, "--task", "gsm8k", "--data", data, "--shots", "0", "--samples", "3", "--temperature", "0", says="the same text")
        self.expect_error(NANO, "--task", "bbq", "--data", self.data("bbq"), "--samples", "3", says="--samples is given but BBQ has no use for it")
        self.expect_error(NANO, "--task", "math", "--data", self.data("math"), "--shots", "2", says="MATH has 4 examples of its own")
        self.expect_error(NANO, "--task", "gsm8k", "--data", data, "--shots", "0", "--max-tokens", "100000000", says="but the context has")
        self.expect_error(NANO, "--task", "gsm8k", says="--data", code=2)
        bad = write_lines(self.folder / "bad.jsonl", [{"question": "q", "answer": "no number"}])
        self.expect_error(NANO, "--task", "gsm8k", "--data", bad, says="bad.jsonl:1: answer is \"no number\" but must be")


if __name__ == "__main__":
    unittest.main()
