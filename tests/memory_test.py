#!/usr/bin/env python3
"""--memory as its users meet it: the same results at every budget, no more memory than it says, errors that end a request and not the
program. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from server_process import INSTRUMENTED, NANO, PROGRAM, Server

PROMPT = "Once upon a time there was a little girl who lived in a house by the sea, and every morning she"


def cadre(*arguments):
    """Exit code, standard output, what was said beside it, and peak resident bytes of one run."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=out, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said.seek(0)
        return process.returncode, out.read().decode(), said.read().decode(), usage.ru_maxrss * 1024


def least_budget(*arguments):
    """Bytes that the program says the run needs."""
    code, _, said, _ = cadre(*arguments, "--memory", "1M")
    found = re.search(r"needs (\d+)M at least", said)
    assert code == 1 and found and said.count("\n") == 1, said
    return int(found[1]) * 1_000_000


class Memory(unittest.TestCase):
    def check_same(self, *arguments):
        """The run's output without a budget, which every budget must give too; budgets and peaks are printed."""
        code, expected, said, unbounded = cadre(*arguments)
        self.assertEqual(code, 0, said)
        least = least_budget(*arguments)
        # The sum of all is known only from within: what is there at the beginning differs a little from run to run.
        for budget in (least + 500_000, least + 2_000_000, least + 4_000_000, 4 * least):
            code, out, said, peak = cadre(*arguments, "--memory", budget, "--log-level", "info")
            self.assertEqual(code, 0, said)
            self.assertEqual(self.stable(out), self.stable(expected))
            print(f"{arguments[0]}: budget {budget / 1e6:.1f} MB, peak {peak / 1e6:.1f} MB (without {unbounded / 1e6:.1f} MB)")
            self.assertIn("experts, ", said)
            if not INSTRUMENTED:
                self.assertLessEqual(peak, 1.02 * budget)
        return expected

    @staticmethod
    def stable(text):
        """Output without what no two runs share."""
        return re.sub(r'"[a-z_]*_per_s": [0-9.e+-]+|"experts": \{.*?\n  \}', "", text, flags=re.S)

    def test_generate_says_the_same_at_every_budget(self):
        for settings in (["--temperature", 0], ["--temperature", 0.9, "--seed", 3, "--kv", "q8"], ["--activations", "f32"], ["--no-pack"]):
            self.check_same("generate", NANO, "-p", PROMPT, "-n", 60, *settings)

    def test_policies_guesses_and_instruction_sets_change_nothing(self):
        run = ["generate", NANO, "-p", PROMPT, "-n", 40]
        budget = least_budget(*run) + 2_000_000
        expected = cadre(*run)[1]
        for options in (["--expert-cache", "lru"], ["--expert-guesses", 0], ["--expert-guesses", 1], ["--threads", 1], ["--isa", "scalar"]):
            alone = cadre(*run, *options)[1] if options[0] == "--isa" else expected
            code, out, said, _ = cadre(*run, "--memory", budget, *options)
            self.assertEqual((code, out), (0, alone), said)

    def test_perplexity_and_logits_are_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            text = os.path.join(folder, "text.txt")
            with open(text, "w", encoding="utf-8") as file:
                file.write((PROMPT + " went to look at the boats. ") * 30)
            self.check_same("perplexity", NANO, "--file", text, "--context", 128)
            out = os.path.join(folder, "logits.npy")
            ids = " ".join(str(3 + 7 * i) for i in range(200))
            run = ["logits", NANO, "--ids", ids, "--out", out, "--routing", out + ".json"]
            self.check_same(*run)
            files = []
            for budget in (None, least_budget(*run) + 1_000_000):
                cadre(*run, *(["--memory", budget] if budget else []))
                with open(out, "rb") as npy, open(out + ".json", "rb") as routing:
                    files.append((npy.read(), routing.read()))
            self.assertEqual(files[0], files[1])

    def test_a_conversation_fits_its_context_to_the_memory(self):
        run = ["chat", NANO, "--temperature", "0", "-n", "30"]
        turns = b"Tell me about a dog.\nAnd a cat?\n"
        plain = subprocess.run([PROGRAM, *map(str, run)], input=turns, capture_output=True, check=True).stdout
        least = least_budget(*run)
        done = subprocess.run([PROGRAM, *map(str, run), "--memory", str(least + 2_000_000)], input=turns, capture_output=True, check=True)
        self.assertEqual(done.stdout, plain)

    def test_what_was_fetched_is_told(self):
        run = ["generate", NANO, "-p", PROMPT, "-n", 60, "--json"]
        told = json.loads(cadre(*run, "--memory", least_budget(*run) + 3_000_000)[1])["experts"]
        self.assertEqual(len(told["foreseen_by_layer"]), 4)
        self.assertIsNone(told["foreseen_by_layer"][0])
        self.assertGreater(told["foreseen"], 0.4)
        self.assertGreater(told["hits"], 0)
        self.assertGreater(told["misses"], 0)
        self.assertGreater(told["read_bytes"], 1_000_000)
        self.assertGreaterEqual(told["stall_s"], 0)
        print(told)
        self.assertNotIn("experts", json.loads(cadre(*run)[1]))

    def test_a_prompt_reads_each_expert_at_most_once(self):
        run = ["generate", NANO, "-p", " ".join(["The old man and the sea."] * 30), "-n", 1, "--json"]
        told = json.loads(cadre(*run, "--memory", least_budget(*run) + 500_000, "--expert-guesses", 0)[1])["experts"]
        self.assertLessEqual(told["misses"], 4 * 8)

    def test_wrong_use_is_refused(self):
        for arguments in (
            ["generate", NANO, "-p", "a", "--memory", "0"],
            ["generate", NANO, "-p", "a", "--memory", "lots"],
            ["generate", NANO, "-p", "a", "--expert-cache", "lru"],
            ["bench", "--preset", "mixtral-8x7b", "--memory", "1G"],
        ):
            code, _, said, _ = cadre(*arguments)
            self.assertEqual(code, 2, said)

    def test_bench_measures_within_the_budget(self):
        run = ["bench", NANO, "-p", 64, "-n", 8, "--repeat", 1, "--json"]
        for extra in ([], ["--batch", 3]):
            budget = least_budget(*run, *extra) + 1_000_000
            result = json.loads(cadre(*run, *extra, "--memory", budget)[1])
            self.assertGreater(result["experts_fetched"]["misses"], 0)
            if not INSTRUMENTED:
                self.assertLessEqual(result["peak_rss_bytes"], 1.02 * budget)

    def serve_budget(self, model):
        process = subprocess.run(
            [PROGRAM, "serve", model, "--port", "0", "--parallel", "4", "--memory", "1M"], capture_output=True, check=False
        )
        return int(re.search(rb"needs (\d+)M at least", process.stderr)[1]) * 1_000_000

    def test_a_server_answers_the_same_and_tells_what_it_fetched(self):
        budget = self.serve_budget(NANO) + 3_000_000
        with Server("--parallel", 4) as server:
            expected = [server.complete(PROMPT, max_tokens=30, temperature=0.8, seed=i)["choices"][0]["text"] for i in range(4)]
        with Server("--parallel", 4, "--memory", budget) as server:
            for _ in range(2):
                told = [server.complete(PROMPT, max_tokens=30, temperature=0.8, seed=i)["choices"][0]["text"] for i in range(4)]
                self.assertEqual(told, expected)
            self.assertGreater(server.metric("cadre_expert_read_bytes_total"), 0)
            self.assertGreaterEqual(server.metric("cadre_expert_slots"), 1)
            print(f"serve: budget {budget / 1e6:.1f} MB, peak {server.peak_bytes() / 1e6:.1f} MB")
            if not INSTRUMENTED:
                self.assertLessEqual(server.peak_bytes(), 1.02 * budget)

    def test_a_file_cut_while_a_server_runs_ends_requests_and_not_the_server(self):
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "model.gguf")
            shutil.copy(NANO, model)
            whole = os.stat(model)
            with Server("--parallel", 4, "--memory", self.serve_budget(model) + 500_000, model=model) as server:
                body = {"model": "model", "prompt": PROMPT, "max_tokens": 20, "temperature": 0}
                status, before, _ = server.ask("/v1/completions", body)
                self.assertEqual(status, 200, before)
                os.truncate(model, whole.st_size // 2)
                status, answer, _ = server.ask("/v1/completions", dict(body, prompt="Another text altogether, " + PROMPT))
                self.assertEqual(status, 500, answer)
                self.assertIn("error", json.loads(answer))
                self.assertEqual(server.ask("/health")[0], 200)
                self.assertGreaterEqual(server.metric("cadre_requests_failed_total"), 1)
                # Back as it was, to the nanosecond: it serves again.
                shutil.copy(NANO, model)
                os.utime(model, ns=(whole.st_atime_ns, whole.st_mtime_ns))
                status, again, _ = server.ask("/v1/completions", dict(body, prompt="Another text altogether, " + PROMPT))
                self.assertEqual(status, 200, again)
                self.assertIsNone(server.process.poll())


if __name__ == "__main__":
    unittest.main()
